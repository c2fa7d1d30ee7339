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

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"

	"github.com/kefuhq/kefu/schema"
)

// DefaultFiles is where a configuration is looked for when none is named.
var DefaultFiles = []string{"./kefu.yaml", "/etc/kefu/kefu.yaml"}

// Source is what a configuration is loaded from. Its zero value loads a file from DefaultFiles, if
// there is one.
type Source struct {
	// File is named by the user, who must get an error when it is missing. Empty: the one in
	// KEFU_CONFIG, which must exist as well, else the first of Search that exists, else none.
	File string

	// Environ is the environment as os.Environ returns it. An empty variable counts as not set, so
	// that a compose file may pass on what may be absent.
	Environ []string

	// Flags are the values given on the command line, by key ("worker.listen",
	// "apps[0].rate.burst").
	Flags map[string]any

	// Search is where to look when no file is named; nil means DefaultFiles.
	Search []string
}

// Load reads and checks a configuration. The error is an *[Error] with everything that is wrong;
// warnings come with either result.
func Load(src Source) (*Config, []Warning, error) {
	l := &loader{
		values: koanf.New("."),
		cfg:    &Config{origins: map[string]origin{}},
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

// flagPlace is where a value from the command line was set.
const flagPlace = "flag"

// sortProblems puts those of the file first, from top to bottom, as whoever mends it goes through
// it.
func (l *loader) sortProblems() {
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		switch inFile := a.File == l.cfg.file; {
		case inFile != (b.File == l.cfg.file):
			return map[bool]int{true: -1, false: 1}[inFile]
		case inFile:
			return cmp.Compare(a.Line, b.Line)
		}
		return 0
	})
}

// loader gathers the layers, lowest first, then turns the text of each value into its field.
type loader struct {
	values   *koanf.Koanf
	cfg      *Config
	apps     map[int]origin // those the layers mention, with where the file starts each
	lookup   func(string) (string, bool)
	failed   map[string]bool // keys without a usable value, about which nothing further can be said
	problems []Problem
	warnings []Warning
}

// layer loads one source over those before it. Every one of its keys has a place it was set at.
func (l *loader) layer(
	provider koanf.Provider, parser koanf.Parser, place func(key string) origin,
) {
	layer := koanf.New(".")
	if err := layer.Load(provider, parser); err != nil {
		l.problems = append(l.problems, Problem{Text: err.Error()})
		return
	}
	for _, key := range layer.Keys() {
		l.cfg.origins[key] = place(key)
		if i, _, ok := cutApp(key); ok {
			if _, mentioned := l.apps[i]; !mentioned {
				l.apps[i] = origin{} // where it starts is the file's to say
			}
		}
	}
	if err := l.values.Merge(layer); err != nil {
		l.problems = append(l.problems, Problem{Text: err.Error()})
	}
}

func (l *loader) loadDefaults() {
	defaults := map[string]any{}
	for _, k := range Keys() {
		if !strings.HasPrefix(k.Path, "apps[]") {
			defaults[k.Path] = k.Default
		}
	}
	l.layer(confmap.Provider(defaults, "."), nil, func(string) origin { return origin{} })
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
	parser := &strictYAML{name: name}
	l.layer(rawbytes.Provider(content), parser, func(key string) origin {
		return origin{name, parser.lines[key]}
	})
	l.problems = append(l.problems, parser.problems...)
	for _, p := range parser.problems {
		l.failed[internal(p.Key)] = true
	}
	for i := 0; parser.lines[appsPath+strconv.Itoa(i)] > 0; i++ {
		l.apps[i] = origin{name, parser.lines[appsPath+strconv.Itoa(i)]}
	}
}

// readFile returns the file to load under the name to show, or no name when there is none.
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

// reason is what is wrong with a file, without repeating its path.
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
	given := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		key := internal(path)
		_, name := split(key)
		complaint := ""
		switch {
		case isSecretName(name):
			complaint = literalSecret(key)
		case strings.HasPrefix(key, "apps[]"):
			complaint = path + " names no app: number it, as in apps[0]"
		case !known().leaves[pattern(key)]:
			complaint = "unknown key " + path + suggestion(key, "")
		default:
			given[key] = format(flags[path])
			continue
		}
		l.problems = append(l.problems,
			Problem{File: flagPlace, Key: path, Text: complaint, inText: true})
	}
	l.layer(confmap.Provider(given, "."), nil, func(string) origin {
		return origin{place: flagPlace}
	})
}

// decode turns every value into its field.
func (l *loader) decode() {
	decodeRows(l, configKeys, l.cfg, "")
	decodeRows(l, settingsKeys, &l.cfg.Defaults, defaultsPath)
	for i := range l.apps {
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
		if !l.values.Exists(key) {
			continue
		}
		raw := l.values.String(key)
		if complaint := r.rule.set(r.field(into), raw); complaint != "" {
			l.failed[key] = true
			l.problem(key, r.rule.complain(raw, complaint))
		}
	}
}

// problem reports on the value of a key, at the place that set it.
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
		at.place = l.cfg.file // a default that does not go with what the file says
	}
	return Problem{File: at.place, Line: at.line, Key: display(key), Text: text}
}

// set tells whether somebody gave the key a value.
func (l *loader) set(key string) bool { return l.cfg.origins[key].place != "" }

func lookupIn(environ []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		// The last of several wins, as it does for os.Getenv's callers on the systems that allow
		// several.
		for _, entry := range slices.Backward(environ) {
			if key, value, ok := strings.Cut(entry, "="); ok && key == name {
				return value, true
			}
		}
		return "", false
	}
}
