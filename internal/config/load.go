package config

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kefuhq/kefu/schema"
)

// DefaultFiles is where a configuration is looked for when none is named.
var DefaultFiles = []string{"./kefu.yaml", "/etc/kefu/kefu.yaml"}

// Source is what a configuration is loaded from. Its zero value loads the first of DefaultFiles
// that exists, if any.
type Source struct {
	// File is the file that the user named; it must exist. Empty means the file that KEFU_CONFIG
	// names, which must exist as well, else the first of Search that exists, else none.
	File string

	// Environ is the environment as os.Environ returns it. An empty variable counts as not set, so
	// that a compose file may pass variables on that are not set outside.
	Environ []string

	// Flags are the values given on the command line, by key ("worker.listen",
	// "apps[0].rate.burst").
	Flags map[string]any

	// Search lists the files to look for when none is named; nil means DefaultFiles.
	Search []string
}

// Load reads and checks a configuration. The error is an *[Error] with everything that is wrong;
// warnings come with either result.
func Load(src Source) (*Config, []Warning, error) {
	l := &loader{
		cfg:    &Config{origins: map[string]origin{}},
		values: map[string]string{},
		apps:   map[int]origin{},
		failed: map[string]bool{},
		lookup: lookupIn(src.Environ),
	}
	l.loadDefaults()
	l.loadFile(src)
	l.loadEnviron(src.Environ)
	l.loadFlags(src.Flags)
	l.decode()
	l.check()
	if len(l.problems) > 0 {
		l.sortProblems()
		return nil, l.warnings, &Error{Problems: l.problems}
	}
	return l.cfg, l.warnings, nil
}

// flagPlace is the place of a value that was set on the command line.
const flagPlace = "flag"

// sortProblems puts those of the file first, from top to bottom, in the order in which somebody
// corrects them.
func (l *loader) sortProblems() {
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		aInFile, bInFile := a.File == l.cfg.file, b.File == l.cfg.file
		switch {
		case aInFile && bInFile:
			return cmp.Compare(a.Line, b.Line)
		case aInFile:
			return -1
		case bInFile:
			return 1
		}
		return 0
	})
}

// loader collects the text of every value, the lowest source first, then decodes the texts into the
// fields.
type loader struct {
	cfg      *Config
	values   map[string]string // by key (apps.0.rate.burst), from the highest source that has it
	apps     map[int]origin    // the apps that any source mentions, with where the file starts each
	lookup   func(string) (string, bool)
	failed   map[string]bool // keys without a usable value: nothing further is said about these
	problems []Problem
	warnings []Warning
}

// put sets the value of a key, in place of a value from an earlier source.
func (l *loader) put(key, text string, at origin) {
	l.values[key], l.cfg.origins[key] = text, at
	if i, _, ok := cutApp(key); ok {
		if _, mentioned := l.apps[i]; !mentioned {
			l.apps[i] = origin{} // only the file has a line where an app starts
		}
	}
}

func (l *loader) loadDefaults() {
	for _, k := range Keys() {
		if !strings.HasPrefix(k.Path, "apps[]") {
			l.put(k.Path, k.Default, origin{})
		}
	}
}

func (l *loader) loadFile(src Source) {
	name, content, err := readFile(src, l.lookup)
	if err != nil {
		l.problems = append(l.problems, Problem{File: name, Text: reason(err)})
		return
	}
	if name == "" {
		return
	}
	l.cfg.file = name
	fileReader{into: l}.read(content)
}

// readFile returns the content of the file to load and the name to show for it; the name is empty
// when there is no file.
func readFile(
	src Source, lookup func(string) (string, bool),
) (name string, content []byte, err error) {
	name = src.File
	if name == "" {
		name, _ = lookup(envFile)
	}
	if name != "" {
		content, err = os.ReadFile(name)
		return name, content, err
	}
	search := src.Search
	if search == nil {
		search = DefaultFiles
	}
	for _, candidate := range search {
		content, err = os.ReadFile(candidate)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return strings.TrimPrefix(candidate, "./"), content, err
	}
	return "", nil, nil
}

// reason returns what is wrong with a file, without its path.
func reason(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.As(err, &path):
		return "cannot be read: " + path.Err.Error()
	default:
		return "cannot be read: " + err.Error()
	}
}

func (l *loader) loadFlags(flags map[string]any) {
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		key := internal(path)
		_, name := split(key)
		var complaint string
		switch {
		case isSecretName(name):
			complaint = literalSecret(key)
		case strings.HasPrefix(key, "apps[]"):
			complaint = path + " names no app: number it, as in apps[0]"
		case !known().leaves[pattern(key)]:
			complaint = "unknown key " + path + suggestion(key, "")
		default:
			l.put(key, format(flags[path]), origin{place: flagPlace})
			continue
		}
		l.problems = append(l.problems,
			Problem{File: flagPlace, Key: path, Text: complaint, inText: true})
	}
}

// decode stores every value in its field.
func (l *loader) decode() {
	decodeRows(l, configKeys, l.cfg, "")
	decodeRows(l, settingsKeys, &l.cfg.Defaults, defaultsPath)
	for _, i := range slices.Sorted(maps.Keys(l.apps)) {
		if i >= len(l.apps) {
			l.problem(appsPath+strconv.Itoa(i),
				"leaves a gap: apps are numbered from 0 without leaving one out")
			return
		}
	}
	l.cfg.Apps = make([]App, len(l.apps))
	for i := range l.cfg.Apps {
		app := &l.cfg.Apps[i]
		prefix := appsPath + strconv.Itoa(i) + "."
		app.Settings, app.lookup = l.cfg.Defaults, l.lookup
		app.Limits.Kind = schema.KindOfficialAccount
		decodeRows(l, appKeys, app, prefix)
		decodeRows(l, settingsKeys, &app.Settings, prefix)
	}
}

func decodeRows[T any](l *loader, rows []row[T], into *T, prefix string) {
	for _, r := range rows {
		key := prefix + r.path
		raw, ok := l.values[key]
		if !ok {
			continue
		}
		if complaint := r.rule.set(r.field(into), raw); complaint != "" {
			l.failed[key] = true
			l.problem(key, r.rule.complain(raw, complaint))
		}
	}
}

// problem reports a problem with the value of a key, at the place that set it.
func (l *loader) problem(key, text string) {
	l.problems = append(l.problems, l.about(key, text))
}

func (l *loader) warn(key, text string) {
	l.warnings = append(l.warnings, Warning{l.about(key, text)})
}

func (l *loader) about(key, text string) Problem {
	at, ok := l.cfg.origins[key]
	if i, _, isApp := cutApp(key + "."); !ok && isApp {
		at = l.apps[i]
	}
	if at.place == "" {
		at.place = l.cfg.file // a default that conflicts with a value of the file
	}
	return Problem{File: at.place, Line: at.line, Key: display(key), Text: text}
}

// set reports whether a source other than the defaults has the key.
func (l *loader) set(key string) bool { return l.cfg.origins[key].place != "" }

func lookupIn(environ []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		// The last of several entries counts, as for os/exec.
		for _, entry := range slices.Backward(environ) {
			if key, value, ok := strings.Cut(entry, "="); ok && key == name {
				return value, true
			}
		}
		return "", false
	}
}
