package cli

import (
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/config"
)

// Settings are the configuration that a command works with, and the app that is meant.
type Settings struct {
	Environ []string
	AppID   string // --app; empty: none is named

	file   string   // --config
	set    []string // --set: KEY=VALUE of the configuration
	search []string // where to look for the file; nil means the usual places
	warn   func(string)
	loaded *config.Config
}

// Getenv returns a variable of this run's environment, empty when it is not set.
func (s *Settings) Getenv(name string) string { return getenv(s.Environ, name) }

func getenv(environ []string, name string) string {
	for _, entry := range slices.Backward(environ) {
		if key, value, ok := strings.Cut(entry, "="); ok && key == name {
			return value
		}
	}
	return ""
}

// Source returns where this run's configuration comes from.
func (s *Settings) Source() (config.Source, error) {
	src := config.Source{
		File: s.file, Environ: s.Environ, Search: s.search, Flags: map[string]any{},
	}
	for _, setting := range s.set {
		key, value, ok := strings.Cut(setting, "=")
		if !ok {
			return src, Usagef("--set %s is not KEY=VALUE", key)
		}
		src.Flags[key] = value
	}
	return src, nil
}

// Override takes over those settings that name a key of the configuration, and returns the others:
// for a command whose own --set means something else besides.
func (s *Settings) Override(settings []string) (others []string) {
	for _, setting := range settings {
		if slices.Contains(sections(), section(setting)) {
			s.set = append(s.set, setting)
		} else {
			others = append(others, setting)
		}
	}
	return others
}

// section is the first part of a key.
func section(key string) string {
	end := strings.IndexAny(key, ".[=")
	if end < 0 {
		return key
	}
	return key[:end]
}

func sections() (names []string) {
	for _, k := range config.Keys() {
		names = append(names, section(k.Path))
	}
	return names
}

// Config loads the configuration, once. Its warnings go to the user, except for those about
// AppSecrets, about which only who reads them can do something.
func (s *Settings) Config() (*config.Config, error) { return s.config(false) }

// ConfigWithSecrets is Config for a command that reads AppSecrets: it warns of files that are
// missing or that others can read.
func (s *Settings) ConfigWithSecrets() (*config.Config, error) { return s.config(true) }

func (s *Settings) config(withSecrets bool) (*config.Config, error) {
	if s.loaded != nil {
		return s.loaded, nil
	}
	cfg, err := s.load(withSecrets)
	if err != nil {
		return nil, err
	}
	s.loaded = cfg
	return cfg, nil
}

// Reload loads the configuration once more, with its warnings about AppSecrets. What was loaded
// before stays in force.
func (s *Settings) Reload() (*config.Config, error) { return s.load(true) }

func (s *Settings) load(withSecrets bool) (*config.Config, error) {
	src, err := s.Source()
	if err != nil {
		return nil, err
	}
	cfg, warnings, err := config.Load(src)
	for _, w := range warnings {
		if withSecrets || !strings.HasSuffix(w.Key, "secret_file") {
			s.warn(w.String())
		}
	}
	return cfg, err
}

// App is the app a command is about: the one in its argument (pass "" for none), else in --app,
// else the only one there is.
func (s *Settings) App(argument string) (config.App, error) {
	cfg, err := s.Config()
	if err != nil {
		return config.App{}, err
	}
	if err := cfg.RequireApps(); err != nil {
		return config.App{}, err
	}
	appid, err := s.appID(argument)
	if err != nil {
		return config.App{}, err
	}
	if appid == "" {
		if len(cfg.Apps) == 1 {
			return cfg.Apps[0], nil
		}
		return config.App{},
			Usagef("there are several apps: name one of %s with --app", appNames(cfg))
	}
	app, ok := cfg.App(appid)
	if !ok {
		return config.App{}, Usagef("no app %s is configured: there is %s", appid, appNames(cfg))
	}
	return app, nil
}

// appID returns the appid in an argument or in --app; empty when neither names one.
func (s *Settings) appID(argument string) (string, error) {
	switch {
	case argument == "":
		return s.AppID, nil
	case s.AppID != "" && argument != s.AppID:
		return "", Usagef("two apps are named, %s and --app %s: which one?", argument, s.AppID)
	}
	return argument, nil
}

// appNames lists the configured apps for a message, a long list only in part.
func appNames(cfg *config.Config) string {
	const most = 8
	var names []string
	for i, app := range cfg.Apps {
		if i == most {
			names = append(names, "…")
			break
		}
		name := app.AppID
		if app.Name != "" {
			name += " (" + app.Name + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// appChoices returns the appids for the shell's completion, each with the app's name. It stays
// silent about a bad configuration.
func (s *Settings) appChoices() []string {
	src, err := s.Source()
	if err != nil {
		return nil
	}
	cfg, _, err := config.Load(src)
	if err != nil {
		return nil
	}
	var choices []string
	for _, app := range cfg.Apps {
		choices = append(choices, app.AppID+"\t"+app.Label())
	}
	return choices
}

// settingChoices returns the keys for the completion of --set.
func settingChoices() []string {
	var choices []string
	for _, k := range config.Keys() {
		choices = append(choices, k.Path+"=\t"+k.Doc)
	}
	return choices
}
