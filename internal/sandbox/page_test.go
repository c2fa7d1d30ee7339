package sandbox

import (
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// word is one word of a shell command: in single or double quotes, or bare.
var word = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)

// example is a curl command of the documentation.
type example struct{ method, url, body string }

// examples reads the curl commands of a text, which may go over several lines.
func examples(text string) []example {
	var all []example
	for _, command := range strings.Split(text, "curl -s ")[1:] {
		command = strings.ReplaceAll(command, "\\\n", " ")
		if end := strings.Index(command, "\n"); strings.Count(command[:max(end, 0)], "'")%2 == 0 {
			command = command[:end] // the line ends outside of quotes
		}
		e := example{method: http.MethodGet}
		words := word.FindAllString(command, -1)
		for i, w := range words {
			w = strings.Trim(w, `'"`)
			switch {
			case i > 0 && words[i-1] == "-X":
				e.method = w
			case i > 0 && words[i-1] == "-d":
				e.method, e.body = http.MethodPost,
					strings.TrimSuffix(strings.TrimPrefix(words[i], "'"), "'")
			case strings.HasPrefix(w, "http") && e.url == "":
				e.url = w
			}
		}
		all = append(all, e)
	}
	return all
}

func TestEveryExampleOfTheDocumentationWorks(t *testing.T) {
	t.Parallel()
	comment, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for name, text := range map[string]string{
		"the package comment": strings.ReplaceAll(strings.ReplaceAll(string(comment), "//\t", ""),
			"$URL", "{{url}}"),
		"the page": manual,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			found := examples(strings.ReplaceAll(text, "{{url}}", b.url))
			require.Greater(t, len(found), 30)
			for _, e := range found {
				require.NotEmpty(t, e.url)
				r := b.must(e.method, strings.Replace(e.url, "n=100&timeout=30s", "n=0", 1), e.body)
				require.Less(t, r.status, 300, "%+v: %s", e, r.body)
			}
		})
	}
}

func TestThePageNamesEveryField(t *testing.T) {
	t.Parallel()
	for _, name := range jsonNames(reflect.TypeFor[Rule]()) {
		require.Regexp(t, `(?m)^  (which calls|when|what|how|or breaks) .*\b`+name+`\b`, manual)
	}
	for _, name := range jsonNames(reflect.TypeFor[Settings]()) {
		require.Contains(t, manual, `"`+name+`":`)
	}
}

// jsonNames returns the names of a struct's fields in JSON, and of those of the structs in it.
func jsonNames(of reflect.Type) []string {
	var names []string
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
		inner := field.Type
		if inner.Kind() == reflect.Map {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			names = append(names, jsonNames(inner)...)
		}
	}
	return names
}
