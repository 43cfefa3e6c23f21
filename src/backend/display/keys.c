/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of keys: QEMU's, and the keysyms of X11 on a US keyboard. */
#include <linux/input-event-codes.h>
#include <stddef.h>
#include <string.h>

#include "backend/display/input.h"
#include "base/bits.h"

static const struct {
	const char *name;
	uint16_t code;
} names[] = {
	{ "shift", KEY_LEFTSHIFT }, { "shift_r", KEY_RIGHTSHIFT }, { "alt", KEY_LEFTALT }, { "alt_r", KEY_RIGHTALT },
	{ "ctrl", KEY_LEFTCTRL }, { "ctrl_r", KEY_RIGHTCTRL }, { "menu", KEY_MENU }, { "esc", KEY_ESC },
	{ "1", KEY_1 }, { "2", KEY_2 }, { "3", KEY_3 }, { "4", KEY_4 }, { "5", KEY_5 }, { "6", KEY_6 }, { "7", KEY_7 },
	{ "8", KEY_8 }, { "9", KEY_9 }, { "0", KEY_0 }, { "minus", KEY_MINUS }, { "equal", KEY_EQUAL },
	{ "backspace", KEY_BACKSPACE }, { "tab", KEY_TAB }, { "q", KEY_Q }, { "w", KEY_W }, { "e", KEY_E }, { "r", KEY_R },
	{ "t", KEY_T }, { "y", KEY_Y }, { "u", KEY_U }, { "i", KEY_I }, { "o", KEY_O }, { "p", KEY_P },
	{ "bracket_left", KEY_LEFTBRACE }, { "bracket_right", KEY_RIGHTBRACE }, { "ret", KEY_ENTER }, { "a", KEY_A },
	{ "s", KEY_S }, { "d", KEY_D }, { "f", KEY_F }, { "g", KEY_G }, { "h", KEY_H }, { "j", KEY_J }, { "k", KEY_K },
	{ "l", KEY_L }, { "semicolon", KEY_SEMICOLON }, { "apostrophe", KEY_APOSTROPHE }, { "grave_accent", KEY_GRAVE },
	{ "backslash", KEY_BACKSLASH }, { "z", KEY_Z }, { "x", KEY_X }, { "c", KEY_C }, { "v", KEY_V }, { "b", KEY_B },
	{ "n", KEY_N }, { "m", KEY_M }, { "comma", KEY_COMMA }, { "dot", KEY_DOT }, { "slash", KEY_SLASH },
	{ "asterisk", KEY_KPASTERISK }, { "spc", KEY_SPACE }, { "caps_lock", KEY_CAPSLOCK }, { "f1", KEY_F1 },
	{ "f2", KEY_F2 }, { "f3", KEY_F3 }, { "f4", KEY_F4 }, { "f5", KEY_F5 }, { "f6", KEY_F6 }, { "f7", KEY_F7 },
	{ "f8", KEY_F8 }, { "f9", KEY_F9 }, { "f10", KEY_F10 }, { "f11", KEY_F11 }, { "f12", KEY_F12 },
	{ "num_lock", KEY_NUMLOCK }, { "scroll_lock", KEY_SCROLLLOCK }, { "kp_divide", KEY_KPSLASH },
	{ "kp_multiply", KEY_KPASTERISK }, { "kp_subtract", KEY_KPMINUS }, { "kp_add", KEY_KPPLUS }, { "kp_enter", KEY_KPENTER },
	{ "kp_decimal", KEY_KPDOT }, { "sysrq", KEY_SYSRQ }, { "kp_0", KEY_KP0 }, { "kp_1", KEY_KP1 }, { "kp_2", KEY_KP2 },
	{ "kp_3", KEY_KP3 }, { "kp_4", KEY_KP4 }, { "kp_5", KEY_KP5 }, { "kp_6", KEY_KP6 }, { "kp_7", KEY_KP7 },
	{ "kp_8", KEY_KP8 }, { "kp_9", KEY_KP9 }, { "less", KEY_102ND }, { "print", KEY_SYSRQ }, { "home", KEY_HOME },
	{ "pgup", KEY_PAGEUP }, { "pgdn", KEY_PAGEDOWN }, { "end", KEY_END }, { "left", KEY_LEFT }, { "up", KEY_UP },
	{ "down", KEY_DOWN }, { "right", KEY_RIGHT }, { "insert", KEY_INSERT }, { "delete", KEY_DELETE }, { "stop", KEY_STOP },
	{ "again", KEY_AGAIN }, { "props", KEY_PROPS }, { "undo", KEY_UNDO }, { "front", KEY_FRONT }, { "copy", KEY_COPY },
	{ "open", KEY_OPEN }, { "paste", KEY_PASTE }, { "find", KEY_FIND }, { "cut", KEY_CUT }, { "help", KEY_HELP },
	{ "meta_l", KEY_LEFTMETA }, { "meta_r", KEY_RIGHTMETA }, { "compose", KEY_COMPOSE }, { "pause", KEY_PAUSE },
	{ "ro", KEY_RO }, { "hiragana", KEY_HIRAGANA }, { "henkan", KEY_HENKAN }, { "yen", KEY_YEN },
	{ "muhenkan", KEY_MUHENKAN }, { "katakanahiragana", KEY_KATAKANAHIRAGANA }, { "kp_comma", KEY_KPCOMMA },
	{ "kp_equals", KEY_KPEQUAL }, { "power", KEY_POWER }, { "sleep", KEY_SLEEP }, { "wake", KEY_WAKEUP },
	{ "audionext", KEY_NEXTSONG }, { "audioprev", KEY_PREVIOUSSONG }, { "audiostop", KEY_STOPCD },
	{ "audioplay", KEY_PLAYPAUSE }, { "audiomute", KEY_MUTE }, { "volumeup", KEY_VOLUMEUP },
	{ "volumedown", KEY_VOLUMEDOWN }, { "mediaselect", KEY_MEDIA }, { "mail", KEY_MAIL }, { "calculator", KEY_CALC },
	{ "computer", KEY_COMPUTER }, { "ac_home", KEY_HOMEPAGE }, { "ac_back", KEY_BACK }, { "ac_forward", KEY_FORWARD },
	{ "ac_refresh", KEY_REFRESH }, { "ac_bookmarks", KEY_BOOKMARKS }, { "lang1", KEY_HANGEUL }, { "lang2", KEY_HANJA },
};

int input_key_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i].name, name))
			return names[i].code;
	return -1;
}

const char *input_key_name(unsigned code)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].code == code)
			return names[i].name;
	return NULL;
}

/* -- Keysyms --------------------------------------------------------------------------------------- */

/* The keys of printable characters: without and with shift. */
static const struct {
	char plain, shifted;
	uint16_t code;
} printable[] = {
	{ '1', '!', KEY_1 }, { '2', '@', KEY_2 }, { '3', '#', KEY_3 }, { '4', '$', KEY_4 }, { '5', '%', KEY_5 },
	{ '6', '^', KEY_6 }, { '7', '&', KEY_7 }, { '8', '*', KEY_8 }, { '9', '(', KEY_9 }, { '0', ')', KEY_0 },
	{ '-', '_', KEY_MINUS }, { '=', '+', KEY_EQUAL }, { '[', '{', KEY_LEFTBRACE }, { ']', '}', KEY_RIGHTBRACE },
	{ ';', ':', KEY_SEMICOLON }, { '\'', '"', KEY_APOSTROPHE }, { '`', '~', KEY_GRAVE }, { '\\', '|', KEY_BACKSLASH },
	{ ',', '<', KEY_COMMA }, { '.', '>', KEY_DOT }, { '/', '?', KEY_SLASH },
	{ 'a', 'A', KEY_A }, { 'b', 'B', KEY_B }, { 'c', 'C', KEY_C }, { 'd', 'D', KEY_D }, { 'e', 'E', KEY_E },
	{ 'f', 'F', KEY_F }, { 'g', 'G', KEY_G }, { 'h', 'H', KEY_H }, { 'i', 'I', KEY_I }, { 'j', 'J', KEY_J },
	{ 'k', 'K', KEY_K }, { 'l', 'L', KEY_L }, { 'm', 'M', KEY_M }, { 'n', 'N', KEY_N }, { 'o', 'O', KEY_O },
	{ 'p', 'P', KEY_P }, { 'q', 'Q', KEY_Q }, { 'r', 'R', KEY_R }, { 's', 'S', KEY_S }, { 't', 'T', KEY_T },
	{ 'u', 'U', KEY_U }, { 'v', 'V', KEY_V }, { 'w', 'W', KEY_W }, { 'x', 'X', KEY_X }, { 'y', 'Y', KEY_Y },
	{ 'z', 'Z', KEY_Z },
};

/* The others, as the X protocol's appendix A numbers them. */
static const struct {
	uint16_t keysym, code;
} special[] = {
	{ ' ', KEY_SPACE }, { 0xff08, KEY_BACKSPACE }, { 0xff09, KEY_TAB }, { 0xfe20, KEY_TAB }, { 0xff0d, KEY_ENTER },
	{ 0xff13, KEY_PAUSE }, { 0xff14, KEY_SCROLLLOCK }, { 0xff15, KEY_SYSRQ }, { 0xff1b, KEY_ESC }, { 0xff50, KEY_HOME },
	{ 0xff51, KEY_LEFT }, { 0xff52, KEY_UP }, { 0xff53, KEY_RIGHT }, { 0xff54, KEY_DOWN }, { 0xff55, KEY_PAGEUP },
	{ 0xff56, KEY_PAGEDOWN }, { 0xff57, KEY_END }, { 0xff61, KEY_SYSRQ }, { 0xff63, KEY_INSERT }, { 0xff67, KEY_COMPOSE },
	{ 0xff6b, KEY_PAUSE }, { 0xff7f, KEY_NUMLOCK }, { 0xff8d, KEY_KPENTER }, { 0xff95, KEY_KP7 }, { 0xff96, KEY_KP4 },
	{ 0xff97, KEY_KP8 }, { 0xff98, KEY_KP6 }, { 0xff99, KEY_KP2 }, { 0xff9a, KEY_KP9 }, { 0xff9b, KEY_KP3 },
	{ 0xff9c, KEY_KP1 }, { 0xff9d, KEY_KP5 }, { 0xff9e, KEY_KP0 }, { 0xff9f, KEY_KPDOT }, { 0xffaa, KEY_KPASTERISK },
	{ 0xffab, KEY_KPPLUS }, { 0xffac, KEY_KPCOMMA }, { 0xffad, KEY_KPMINUS }, { 0xffae, KEY_KPDOT }, { 0xffaf, KEY_KPSLASH },
	{ 0xffb0, KEY_KP0 }, { 0xffb1, KEY_KP1 }, { 0xffb2, KEY_KP2 }, { 0xffb3, KEY_KP3 }, { 0xffb4, KEY_KP4 },
	{ 0xffb5, KEY_KP5 }, { 0xffb6, KEY_KP6 }, { 0xffb7, KEY_KP7 }, { 0xffb8, KEY_KP8 }, { 0xffb9, KEY_KP9 },
	{ 0xffbd, KEY_KPEQUAL }, { 0xffbe, KEY_F1 }, { 0xffbf, KEY_F2 }, { 0xffc0, KEY_F3 }, { 0xffc1, KEY_F4 },
	{ 0xffc2, KEY_F5 }, { 0xffc3, KEY_F6 }, { 0xffc4, KEY_F7 }, { 0xffc5, KEY_F8 }, { 0xffc6, KEY_F9 },
	{ 0xffc7, KEY_F10 }, { 0xffc8, KEY_F11 }, { 0xffc9, KEY_F12 }, { 0xffe1, KEY_LEFTSHIFT }, { 0xffe2, KEY_RIGHTSHIFT },
	{ 0xffe3, KEY_LEFTCTRL }, { 0xffe4, KEY_RIGHTCTRL }, { 0xffe5, KEY_CAPSLOCK }, { 0xffe7, KEY_LEFTMETA },
	{ 0xffe8, KEY_RIGHTMETA }, { 0xffe9, KEY_LEFTALT }, { 0xffea, KEY_RIGHTALT }, { 0xfe03, KEY_RIGHTALT },
	{ 0xffeb, KEY_LEFTMETA }, { 0xffec, KEY_RIGHTMETA }, { 0xffff, KEY_DELETE },
};

int input_key_by_keysym(uint32_t keysym, int *shift)
{
	*shift = -1;
	for (size_t i = 0; i < ARRAY_SIZE(special); i++)
		if (special[i].keysym == keysym)
			return special[i].code;
	for (size_t i = 0; i < ARRAY_SIZE(printable); i++) {
		*shift = keysym == (uint8_t)printable[i].shifted;
		if (*shift || keysym == (uint8_t)printable[i].plain)
			return printable[i].code;
	}
	return -1;
}
