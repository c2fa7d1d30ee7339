// Package pagetest checks sets of pages.
package pagetest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// said finds the texts that templates and Go files put into a reader's language.
var said = regexp.MustCompile(`\.(?:T|bad|missing)[ (]\s*("(?:[^"\\]|\\.)*"(?:\s*\+\s*"(?:[^"\\]|\\.)*")*)`)

// verb finds what fmt puts an argument in for.
var verb = regexp.MustCompile(`%[-+ #0-9.]*[a-zA-Z]`)

// Translated requires that each text of the templates and Go files in a folder has its Chinese, in
// lang/*.zh.json of that folder or of another one, with the same arguments in the same order; and
// that those of the folder itself are used. further are texts that no pattern finds.
func Translated(t *testing.T, dir string, further []string, others ...string) {
	t.Helper()
	used := make(map[string]string)
	for _, text := range further {
		used[text] = "further texts"
	}
	for _, pattern := range []string{"*.go", "templates/*.html"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, match := range said.FindAllStringSubmatch(string(content), -1) {
				used[unquoted(t, match[1])] = file
			}
		}
	}
	own := readTexts(t, dir)
	all := readTexts(t, others...)
	for english, chinese := range own {
		all[english] = chinese
		if _, ok := used[english]; !ok && !mentioned(t, dir, english) {
			t.Errorf("%q is translated and not used", english)
		}
	}
	for english, file := range used {
		chinese, ok := all[english]
		if !ok {
			t.Errorf("%s: %q has no Chinese", file, english)
			continue
		}
		require.Equal(t, verb.FindAllString(english, -1), verb.FindAllString(chinese, -1), english)
		if strings.IndexFunc(english, unicode.IsLetter) >= 0 && len(english) > 24 {
			require.GreaterOrEqual(t, strings.IndexFunc(chinese, func(r rune) bool {
				return unicode.Is(unicode.Han, r)
			}), 0, "%q is not Chinese", chinese)
		}
	}
}

// mentioned says whether a text stands in a file otherwise: in a table whose rows are put into the
// reader's language where they are shown.
func mentioned(t *testing.T, dir, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		joined := regexp.MustCompile(`"\s*\+\s*"`).ReplaceAllString(string(content), "")
		if strings.Contains(joined, strconv.Quote(text)) {
			return true
		}
	}
	return false
}

func readTexts(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "lang", "*.zh.json"))
		require.NoError(t, err)
		for _, file := range files {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			some := make(map[string]string)
			require.NoError(t, json.Unmarshal(content, &some), file)
			for english, chinese := range some {
				if before, ok := all[english]; ok {
					require.Equal(t, before, chinese, "%q is translated in two ways", english)
				}
				all[english] = chinese
			}
		}
	}
	return all
}

// unquoted is a string literal of Go, or several that are added up.
func unquoted(t *testing.T, literal string) string {
	t.Helper()
	var text strings.Builder
	for _, part := range regexp.MustCompile(`"(?:[^"\\]|\\.)*"`).FindAllString(literal, -1) {
		s, err := strconv.Unquote(part)
		require.NoError(t, err, part)
		text.WriteString(s)
	}
	return text.String()
}
