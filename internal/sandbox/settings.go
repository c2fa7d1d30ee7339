package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Settings are how strict the API is, and with which of its known oddities. The zero value is as lenient as can be. In JSON the fields have
// the names in their tags.
type Settings struct {
	// Quotas are how often an app may make a call, by the call's name ("send") or path, the path coming first. Others have no limit.
	Quotas map[string]Quota `json:"quotas,omitempty"`

	// KFAccounts are about the account management.
	KFAccounts KFSettings `json:"kfaccounts,omitzero"`
}

// settings are Settings as calls go by them.
type settings struct {
	Settings
	quotas []Quota // by route
}

// Check says what makes settings impossible, naming the field.
func (s *Settings) Check() error {
	routes := newRoutes()
	for name, q := range s.Quotas {
		if len(routesOf(routes, name)) == 0 {
			return fmt.Errorf("settings: quotas: no call has the name or path %q", name)
		}
		if q.Day < 0 || q.Minute < 0 {
			return fmt.Errorf("settings: quotas: %s: below zero", name)
		}
	}
	if err := s.KFAccounts.check(); err != nil {
		return fmt.Errorf("settings: kfaccounts: %w", err)
	}
	return nil
}

// routesOf are the calls that a name or a path means.
func routesOf(routes map[string]*route, name string) []*route {
	if rt := routes[name]; rt != nil {
		return []*route{rt}
	}
	var named []*route
	for _, rt := range routes {
		if rt.call == name {
			named = append(named, rt)
		}
	}
	return named
}

// Settings returns the settings in force.
func (s *Sandbox) Settings() Settings { return s.settings.Load().clone() }

// Configure puts other settings in force, for calls from now on. It panics when [Settings.Check] refuses them, as [Sandbox.Add] does.
func (s *Sandbox) Configure(set Settings) {
	if err := set.Check(); err != nil {
		panic("sandbox: " + err.Error())
	}
	set = set.clone()
	in := &settings{Settings: set, quotas: make([]Quota, len(s.routes))}
	names := slices.SortedFunc(maps.Keys(set.Quotas), namesFirst)
	for _, name := range names {
		for _, rt := range routesOf(s.routes, name) {
			in.quotas[rt.n] = set.Quotas[name]
		}
	}
	s.settings.Store(in)
}

// namesFirst sorts paths behind names, so that what is said of a path holds against what is said of its name.
func namesFirst(a, b string) int {
	switch aPath, bPath := a[0] == '/', b[0] == '/'; {
	case aPath == bPath:
		return 0
	case aPath:
		return 1
	}
	return -1
}

func (s *Settings) clone() Settings {
	c := *s
	c.Quotas = maps.Clone(s.Quotas)
	return c
}

// oneOf is nil when the word is among those allowed.
func oneOf(field, word string, allowed ...string) error {
	if slices.Contains(allowed, word) {
		return nil
	}
	return errors.New(field + ": not " + joinOr(allowed))
}

// joinOr is "a, b or c", leaving out the empty word.
func joinOr(words []string) string {
	s := ""
	for i, w := range words {
		switch {
		case w == "":
			continue
		case s == "":
		case i == len(words)-1:
			s += " or "
		default:
			s += ", "
		}
		s += w
	}
	return s
}
