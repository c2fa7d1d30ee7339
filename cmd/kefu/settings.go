package main

import (
	"strings"

	"github.com/kefuhq/kefu/internal/config"
)

// override sets a configuration key from a flag of the command. It comes before c.config.
func (c *cli) override(key string, value any) { c.overrides[key] = value }

// source is where this run's configuration comes from.
func (c *cli) source() config.Source {
	return config.Source{File: c.configFile, Environ: c.environ, Flags: c.overrides, Search: c.search}
}

// config loads the configuration, once. Its warnings go to the user.
func (c *cli) config() (*config.Config, error) {
	if c.loaded != nil {
		return c.loaded, nil
	}
	cfg, warnings, err := config.Load(c.source())
	for _, w := range warnings {
		c.warn(w.String())
	}
	if err != nil {
		return nil, err
	}
	c.loaded = cfg
	return cfg, nil
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
	cfg, _, err := config.Load(c.source())
	if err != nil {
		return nil
	}
	var choices []string
	for _, app := range cfg.Apps {
		choices = append(choices, app.AppID+"\t"+app.Label())
	}
	return choices
}
