package cli

import "strings"

// The languages of an explanation.
const (
	English       = "en"
	Chinese       = "zh"
	BothLanguages = "both"
)

// Languages returns all languages, as a flag takes them.
func Languages() []string { return []string{English, Chinese, BothLanguages} }

// UTF8 says whether the user's locale has characters beyond ASCII.
func (s *Settings) UTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToLower(s.Getenv(name)); locale != "" {
			return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
		}
	}
	return false
}

// Language returns the one of the user's locale; both where that names none.
func (s *Settings) Language() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		locale := strings.ToLower(s.Getenv(name))
		base, _, _ := strings.Cut(locale, ".")
		switch {
		case locale == "":
			continue
		case base == "c" || base == "posix":
			return BothLanguages
		case strings.HasPrefix(base, "zh"):
			return Chinese
		default:
			return English
		}
	}
	return BothLanguages
}
