package page

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// Language is one that the pages are written in.
type Language string

// The languages.
const (
	English Language = "en"
	Chinese Language = "zh"
)

const (
	languageCookie = "kefu_language"
	themeCookie    = "kefu_theme"
)

var matcher = language.NewMatcher([]language.Tag{language.English, language.Chinese})

// LanguageOf returns the language that somebody chose, or else the one that their browser asks for.
func LanguageOf(r *http.Request) Language {
	if c, err := r.Cookie(languageCookie); err == nil {
		switch l := Language(c.Value); l {
		case English, Chinese:
			return l
		}
	}
	_, index := language.MatchStrings(matcher, r.Header.Get("Accept-Language"))
	if index == 1 {
		return Chinese
	}
	return English
}

// texts are the Chinese texts by the English ones.
type texts map[string]string

func readTexts(parts ...fs.FS) (texts, error) {
	all := make(texts)
	for _, part := range parts {
		if part == nil {
			continue
		}
		err := fs.WalkDir(part, ".", func(name string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, ".zh.json") {
				return err
			}
			content, err := fs.ReadFile(part, name)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(content, &all); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Printer puts texts into a reader's language.
type Printer struct {
	Lang  Language
	texts texts
}

// Printer returns the one for who asks.
func (s *Site) Printer(r *http.Request) Printer { return Printer{LanguageOf(r), s.texts} }

// T returns a text in the reader's language, with its arguments put in as fmt.Sprintf does. The
// text is written in English; one without a translation stays so.
func (p Printer) T(english string, args ...any) string {
	text := english
	if p.Lang == Chinese {
		if chinese, ok := p.texts[english]; ok {
			text = chinese
		}
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// Choose returns the one of two texts that is in the reader's language: for what is explained in
// both where it is known, such as an errcode.
func (p Printer) Choose(english, chinese string) string {
	if p.Lang == Chinese && chinese != "" {
		return chinese
	}
	return english
}

// Preferences stores the language and the colours that a form asks for, and leads back to where it
// was: POST with lang or theme, and back.
func Preferences(w http.ResponseWriter, r *http.Request) {
	set := func(name, value string) {
		//nolint:gosec // G124: Secure is set where the browser uses HTTPS; it would be dropped otherwise
		http.SetCookie(w, &http.Cookie{
			Name: name, Value: value, Path: "/", MaxAge: int((365 * 24 * time.Hour).Seconds()),
			HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
		})
	}
	switch l := r.PostFormValue("lang"); Language(l) {
	case English, Chinese:
		set(languageCookie, l)
	}
	switch t := r.PostFormValue("theme"); t {
	case "light", "dark", "auto":
		set(themeCookie, t)
	}
	//nolint:gosec // G710: Back returns a path of this site only
	http.Redirect(w, r, Back(r.PostFormValue("back")), http.StatusSeeOther)
}

// Back returns where a form may lead back to: a path of this site, or else its first page.
func Back(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" ||
		!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") ||
		strings.ContainsAny(to, "\\\r\n") {
		return "/"
	}
	return to
}
