package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Settings are how strict the API is, and with which of its known oddities. The zero value is as
// lenient as can be. In JSON the fields have the names in their tags.
type Settings struct {
	// Quotas are how often an app may make a call, by the call's name ("send") or path, the path
	// coming first. Others have no limit.
	Quotas map[string]Quota `json:"quotas,omitempty"`

	// Window is which reply windows and allowances hold: "document", "today", or empty for none.
	// With one, a user has to have done something ([Sandbox.Act]) before a message is taken: 45015,
	// 45047, and 45080 of typing.
	Window string `json:"window,omitempty"`
	// Allowances replace the window's for some actions.
	Allowances map[Action]Allowance `json:"allowances,omitempty"`
	// KnownUsers refuses users who never did anything: 40003.
	KnownUsers bool `json:"known_users,omitempty"`

	// Messages are about the content of what is sent.
	Messages MessageSettings `json:"messages,omitzero"`
	// Tokens are about the token calls.
	Tokens TokenSettings `json:"tokens,omitzero"`
	// KFAccounts are about the account management.
	KFAccounts KFSettings `json:"kfaccounts,omitzero"`
}

// settings are Settings as calls go by them.
type settings struct {
	Settings
	quotas     []Quota              // by route
	allowances map[Action]Allowance // nil: no window
	media      map[string]bool      // nil: any
	addresses  []netip.Prefix       // nil: any
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
	if err := s.checkWindow(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := s.Messages.check(); err != nil {
		return fmt.Errorf("settings: messages: %w", err)
	}
	if _, err := s.Tokens.check(); err != nil {
		return fmt.Errorf("settings: tokens: %w", err)
	}
	if err := s.KFAccounts.check(); err != nil {
		return fmt.Errorf("settings: kfaccounts: %w", err)
	}
	return nil
}

// ReadSettings reads settings from JSON, strictly, and checks them. What the JSON does not name is
// as in base, or when it says "like" as in the settings of that name ([Like]).
func ReadSettings(text []byte, base Settings) (Settings, error) {
	read := struct {
		Like string `json:"like"`
		Settings
	}{Settings: base.clone()}
	if err := unmarshalStrict(text, &read); err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	if read.Like != "" {
		like, known := Like(read.Like)
		if !known {
			return Settings{}, fmt.Errorf("settings: like: not %s", joinOr(Likes()))
		}
		read.Settings = like
		if err := unmarshalStrict(text, &read); err != nil {
			return Settings{}, fmt.Errorf("settings: %w", err)
		}
	}
	return read.Settings, read.Check()
}

// unmarshalStrict reads one JSON value and refuses names that v does not have.
func unmarshalStrict(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("something stands behind the JSON value")
	}
	return nil
}

// routesOf returns the calls that a name or a path means.
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

// Configure puts other settings in force, for calls from now on. It panics when [Settings.Check]
// refuses them, as [Sandbox.Add] does.
func (s *Sandbox) Configure(set Settings) {
	if err := set.Check(); err != nil {
		panic("sandbox: " + err.Error())
	}
	set = set.clone()
	in := &settings{Settings: set, quotas: make([]Quota, len(s.routes)),
		allowances: allowancesOf(&set)}
	in.addresses, _ = set.Tokens.check()
	for _, id := range set.Messages.Media {
		if in.media == nil {
			in.media = map[string]bool{}
		}
		in.media[id] = true
	}
	names := slices.SortedFunc(maps.Keys(set.Quotas), namesFirst)
	for _, name := range names {
		for _, rt := range routesOf(s.routes, name) {
			in.quotas[rt.n] = set.Quotas[name]
		}
	}
	s.settings.Store(in)
	s.tell(Event{Kind: Changed})
}

// namesFirst sorts paths behind names, so that what is said of a path holds against what is said of
// its name.
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
	c.Quotas, c.Allowances = maps.Clone(s.Quotas), maps.Clone(s.Allowances)
	c.Messages.Media, c.Tokens.Addresses = slices.Clone(s.Messages.Media),
		slices.Clone(s.Tokens.Addresses)
	return c
}

// oneOf returns nil when the word is among those allowed.
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
