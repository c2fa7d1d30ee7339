package main

import (
	"strings"

	"github.com/kefuhq/kefu/internal/config"
)

// source is where this run's configuration comes from.
func (c *cli) source() (config.Source, error) {
	src := config.Source{File: c.configFile, Environ: c.environ, Search: c.search, Flags: map[string]any{}}
	for _, setting := range c.settings {
		key, value, ok := strings.Cut(setting, "=")
		if !ok {
			return src, usagef("--set %s is not KEY=VALUE", key)
		}
		src.Flags[key] = value
	}
	return src, nil
}

// config loads the configuration, once. Its warnings go to the user.
func (c *cli) config() (*config.Config, error) {
	if c.loaded != nil {
		return c.loaded, nil
	}
	src, err := c.source()
	if err != nil {
		return nil, err
	}
	cfg, warnings, err := config.Load(src)
	for _, w := range warnings {
		if strings.HasSuffix(w.Key, "secret_file") && !c.needsSecrets {
			continue // only who reads secrets can do something about it
		}
		c.warn(w.String())
	}
	if err != nil {
		return nil, err
	}
	c.loaded = cfg
	return cfg, nil
}

// configAnew loads the configuration once more.
func (c *cli) configAnew() (*config.Config, error) {
	before := c.loaded
	c.loaded = nil
	cfg, err := c.config()
	if err != nil {
		c.loaded = before
	}
	return cfg, err
}

// app is the app a command is about: the one in its argument (pass "" for none), else in --app, else the only one there is.
func (c *cli) app(argument string) (config.App, error) {
	cfg, err := c.config()
	if err != nil {
		return config.App{}, err
	}
	if err := cfg.RequireApps(); err != nil {
		return config.App{}, err
	}
	if argument != "" && c.appID != "" && argument != c.appID {
		return config.App{}, usagef("two apps are named, %s and --app %s: which one?", argument, c.appID)
	}
	appid := argument
	if appid == "" {
		appid = c.appID
	}
	if appid == "" {
		if len(cfg.Apps) == 1 {
			return cfg.Apps[0], nil
		}
		return config.App{}, usagef("there are several apps: name one of %s with --app", appNames(cfg))
	}
	app, ok := cfg.App(appid)
	if !ok {
		return config.App{}, usagef("no app %s is configured: there is %s", appid, appNames(cfg))
	}
	return app, nil
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

// appChoices are the appids for the shell's completion, each with the app's name. It stays silent about a bad configuration.
func (c *cli) appChoices() []string {
	src, err := c.source()
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

// settingChoices are the keys for the completion of --set.
func settingChoices() []string {
	var choices []string
	for _, k := range config.Keys() {
		choices = append(choices, k.Path+"=\t"+k.Doc)
	}
	return choices
}
