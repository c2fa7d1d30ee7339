package deadletter

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/when"
	"github.com/kefuhq/kefu/schema"
)

// QueryNames are the names of the conditions of a filter in a URL, in the order in which they are
// shown. They are those of the flags.
func QueryNames() []string {
	return []string{"app", "group", "reason", "errcode", "lane", "campaign", "source", "generation",
		"min-attempts", "search", "id", "openid", "since", "until"}
}

// ParseQuery reads a filter out of a URL. Durations count back from now. The error is a sentence
// that names the parameter.
func ParseQuery(values url.Values, now time.Time) (Filter, error) {
	one := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	f := Filter{
		AppID: one("app"), Group: strings.ToLower(one("group")), Lane: schema.Lane(one("lane")),
		Campaign: one("campaign"), Source: one("source"), OpenID: one("openid"),
		Text: one("search"), IDs: slices.DeleteFunc(slices.Clone(values["id"]), blank),
	}
	for _, word := range listed(values["reason"]) {
		if !slices.Contains(schema.Reasons(), schema.Reason(word)) {
			return f, fmt.Errorf("reason %q is none", word)
		}
		f.Reasons = append(f.Reasons, schema.Reason(word))
	}
	for _, word := range listed(values["errcode"]) {
		code, err := strconv.Atoi(word)
		if err != nil {
			return f, fmt.Errorf("errcode %q is no number", word)
		}
		f.Errcodes = append(f.Errcodes, code)
	}
	for name, into := range map[string]*int{"generation": &f.Generation, "min-attempts": &f.MinAttempts} {
		if word := one(name); word != "" {
			n, err := strconv.Atoi(word)
			if err != nil || n < 0 {
				return f, fmt.Errorf("%s %q is no number from 0", name, word)
			}
			*into = n
		}
	}
	for name, into := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if word := one(name); word != "" {
			at, ago, ok := when.Parse(word, time.Local)
			if !ok {
				return f, fmt.Errorf("%s %q is no time such as 2h, 7d or 2026-11-24 08:15", name, word)
			}
			if at.IsZero() {
				at = now.Add(-ago)
			}
			*into = at
		}
	}
	return f, f.check()
}

// check refuses what no letter can have.
func (f Filter) check() error {
	switch {
	case f.AppID != "" && schema.CheckToken("appid", f.AppID) != nil:
		return fmt.Errorf("app %q is no appid", f.AppID)
	case f.Group != "" && !IsGroup(f.Group):
		return fmt.Errorf("group %q is none: 8 digits and letters a to f", f.Group)
	case f.Lane != "" && f.Lane != schema.LaneLive && f.Lane != schema.LaneBulk:
		return fmt.Errorf("lane %q is not live or bulk", f.Lane)
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until):
		return fmt.Errorf("since is not before until: no time is left")
	}
	return nil
}

// Query writes a filter as ParseQuery reads it, with its times as they are.
func (f Filter) Query() url.Values {
	values := make(url.Values)
	add := func(name string, words ...string) {
		for _, word := range words {
			if word != "" {
				values.Add(name, word)
			}
		}
	}
	number := func(name string, n int) {
		if n > 0 {
			add(name, strconv.Itoa(n))
		}
	}
	moment := func(name string, at time.Time) {
		if !at.IsZero() {
			add(name, at.Format(time.RFC3339))
		}
	}
	add("app", f.AppID)
	add("group", f.Group)
	var reasons, codes []string
	for _, r := range f.Reasons {
		reasons = append(reasons, string(r))
	}
	for _, c := range f.Errcodes {
		codes = append(codes, strconv.Itoa(c))
	}
	add("reason", strings.Join(reasons, ","))
	add("errcode", strings.Join(codes, ","))
	add("lane", string(f.Lane))
	add("campaign", f.Campaign)
	add("source", f.Source)
	number("generation", f.Generation)
	number("min-attempts", f.MinAttempts)
	add("search", f.Text)
	add("id", f.IDs...)
	add("openid", f.OpenID)
	moment("since", f.Since)
	moment("until", f.Until)
	return values
}

// listed splits values that hold several, with commas between them.
func listed(values []string) (words []string) {
	for _, value := range values {
		for word := range strings.SplitSeq(value, ",") {
			if word = strings.TrimSpace(word); word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }
