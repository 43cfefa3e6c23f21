# SPDX-License-Identifier: GPL-2.0-or-later
# Bash completion for doppel.
_doppel()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i
	local commands="run qemu img switch stats screendump link doctor help version"
	local run_options="--boot --smbios --rtc \
--kernel --firmware --initrd --append --memory --cpus --cpu --engine --serial --disk --cdrom --floppy --ephemeral --net \
--share --balloon --vsock --vga --display --device --no-reboot --lockstep --debug-exit --stats --qmp --control --gdb --paused --perf-map --trace --quiet --verbose --help"

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$cur")
		return
	fi
	# Behind "--" stands a command of the guest, about which the host knows nothing.
	for ((i = 2; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} != -- ]] || return
	done
	case ${COMP_WORDS[1]} in
	run) ;;
	qemu)
		_doppel_qemu
		return
		;;
	img)
		if ((COMP_CWORD == 2)); then
			mapfile -t COMPREPLY < <(compgen -W "create info convert check snapshot commit resize map --help" -- "$cur")
			return
		fi
		case $prev in
		-f | -F | -O) mapfile -t COMPREPLY < <(compgen -W "raw qcow2" -- "$cur") ;;
		-r) mapfile -t COMPREPLY < <(compgen -W "leaks all" -- "$cur") ;;
		*)
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -W "--help --output=json --secret --shrink" -- "$cur")
			;;
		esac
		return
		;;
	switch)
		mapfile -t COMPREPLY < <(compgen -W "--port --stats --help" -- "$cur")
		return
		;;
	link)
		if ((COMP_CWORD == 4)); then
			mapfile -t COMPREPLY < <(compgen -W "up down" -- "$cur")
			return
		fi
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -W "--help" -- "$cur")
		return
		;;
	stats | screendump)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -W "--help" -- "$cur")
		return
		;;
	help)
		mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
		return
		;;
	*)
		mapfile -t COMPREPLY < <(compgen -W "--help" -- "$cur")
		return
		;;
	esac
	case $prev in
	--firmware)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -W "ovmf" -- "$cur")
		;;
	--kernel | --initrd | --qmp | --control | --vsock | --cdrom | --floppy)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	--disk)
		compopt -o filenames -o nospace
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	--share)
		compopt -o dirnames -o nospace
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		;;
	--net)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W "user tap= switch= link=unix: link=udp: none" -- "$cur")
		;;
	--device)
		mapfile -t COMPREPLY < <(compgen -W "$(doppel run --device help 2>/dev/null | cut -d' ' -f1) help" -- "$cur")
		;;
	--boot)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W "a c d n menu=on" -- "$cur")
		;;
	--smbios)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W "type=0, type=1, type=2, type=3, type=4, type=17," -- "$cur")
		;;
	--vga) mapfile -t COMPREPLY < <(compgen -W "std none" -- "$cur") ;;
	--display)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W "vnc=: vnc=unix: web= none" -- "$cur")
		;;
	--rtc) mapfile -t COMPREPLY < <(compgen -W "utc localtime" -- "$cur") ;;
	--cpu) mapfile -t COMPREPLY < <(compgen -W "host x86-64 x86-64-v2 x86-64-v3 x86-64-v4 help" -- "$cur") ;;
	--engine) mapfile -t COMPREPLY < <(compgen -W "auto interp bt help" -- "$cur") ;;
	--serial) mapfile -t COMPREPLY < <(compgen -W "stdio pty file: unix: null" -- "$cur") ;;
	--memory) mapfile -t COMPREPLY < <(compgen -W "512M 1G 2G 4G" -- "$cur") ;;
	--cpus) mapfile -t COMPREPLY < <(compgen -W "1 2 4 8" -- "$cur") ;;
	--trace)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W "bt" -- "$cur")
		;;
	--append) ;;
	*) mapfile -t COMPREPLY < <(compgen -W "$run_options" -- "$cur") ;;
	esac
}

# QEMU's options: what -help says about itself.
_doppel_qemu()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} ask

	COMPREPLY=()
	case $prev in
	-device | -machine | -M | -cpu | -accel)
		[[ $prev == -cpu ]] && ask='/^x86 / { print $2 }' || ask='!/:$/ { print $1 }'
		mapfile -t COMPREPLY < <(compgen -W "$(doppel qemu "$prev" help 2>/dev/null | awk "$ask") help" -- "$cur")
		;;
	*)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(doppel qemu -help 2>/dev/null | awk '/^Refused/ { exit } /^-/ { print $1 }')" -- "$cur")
		else
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		fi
		;;
	esac
}
complete -F _doppel doppel
complete -F _doppel_qemu doppel-system-x86_64
