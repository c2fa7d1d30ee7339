package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kefuhq/kefu/schema"
)

// Counted returns a number with its noun: "1 letter", "1,204 letters".
func Counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Grouped(int64(n)) + " " + noun + "s"
}

// Grouped writes a number with a comma between thousands.
func Grouped(n int64) string {
	s := fmt.Sprint(n)
	digits := strings.TrimPrefix(s, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "-" + digits
	}
	return digits
}

// CountOrNo is Counted but for "no letters".
func CountOrNo(n int, noun string) string {
	if n == 0 {
		return "no " + noun + "s"
	}
	return Counted(n, noun)
}

// Reasons returns the reasons why intents die, as flags take them.
func Reasons() (names []string) {
	for _, r := range schema.Reasons() {
		names = append(names, string(r))
	}
	return names
}

// Lanes returns the lanes, as flags take them.
func Lanes() []string { return []string{string(schema.LaneLive), string(schema.LaneBulk)} }

// Errcode returns a code of WeChat's; "" when it is missing.
func Errcode(code *int) string {
	if code == nil {
		return ""
	}
	return strconv.Itoa(*code)
}
