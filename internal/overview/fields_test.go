package overview

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestTheFieldsThatScriptsRelyOn compares the names of the JSON with those that were there before:
// more may come, and none may go.
func TestTheFieldsThatScriptsRelyOn(t *testing.T) {
	t.Parallel()
	got := strings.Join(fields("", reflect.TypeFor[Overview]()), "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile("testdata/fields.txt", []byte(got), 0o600))
	}
	want, err := os.ReadFile("testdata/fields.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// fields are the names of a type's JSON.
func fields(path string, of reflect.Type) (names []string) {
	switch {
	case of.Kind() == reflect.Pointer:
		return fields(path, of.Elem())
	case of.Kind() == reflect.Slice:
		return fields(path+"[]", of.Elem())
	case of.Kind() != reflect.Struct, of == reflect.TypeFor[time.Time](), foreign(of):
		return []string{path}
	}
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			names = append(names, fields(path, f.Type)...)
		case f.IsExported():
			names = append(names, fields(strings.TrimPrefix(path+"."+name, "."), f.Type)...)
		}
	}
	return names
}

// foreign says whether a type is another command's, whose test compares its names.
func foreign(of reflect.Type) bool {
	path := of.PkgPath()
	return strings.HasSuffix(path, "/campaign") || strings.HasSuffix(path, "/replay")
}
