package deadletter

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// condition is one of those that a filter sets.
type condition struct {
	name  string
	holds func(l *schema.Letter) bool
	// value is what the filter asks for, with something in the place of recipients.
	value func(inPlace func(openid string) string) string
	// has is what a letter has there, "" for nothing; nil where that may name a recipient, or says
	// little.
	has func(l *schema.Letter) string
}

func allHold(conditions []condition, l *schema.Letter) bool {
	for i := range conditions {
		if !conditions[i].holds(l) {
			return false
		}
	}
	return true
}

// conditions lists what the filter sets, what is quick to check first. known remembers what letters
// died of.
func (f Filter) conditions(known *folded) []condition {
	var all []condition
	add := func(set bool, c condition) {
		if set {
			all = append(all, c)
		}
	}
	add(f.AppID != "", equals("app", f.AppID, func(l *schema.Letter) string { return l.AppID }))
	add(len(f.IDs) > 0, condition{
		name:  "id",
		holds: func(l *schema.Letter) bool { return slices.Contains(f.IDs, l.ID) },
		value: fixed(summarize(f.IDs)),
	})
	add(len(f.Reasons) > 0, f.reasonCondition())
	add(len(f.Errcodes) > 0, f.errcodeCondition())
	add(f.Lane != "", equals("lane", string(f.Lane),
		func(l *schema.Letter) string { return string(l.Lane) }))
	add(f.Campaign != "", equals("campaign", f.Campaign,
		func(l *schema.Letter) string { return l.Campaign }))
	add(f.Source != "", equals("source", f.Source,
		func(l *schema.Letter) string { return l.Source }))
	add(f.OpenID != "", condition{
		name:  "openid",
		holds: func(l *schema.Letter) bool { return l.OpenID == f.OpenID },
		value: func(inPlace func(string) string) string { return inPlace(f.OpenID) },
	})
	add(f.Generation > 0, equals("generation", strconv.Itoa(f.Generation),
		func(l *schema.Letter) string { return strconv.Itoa(l.Generation) }))
	add(f.Group != "", equals("group", f.Group,
		func(l *schema.Letter) string { return known.fingerprint(l).id() }))
	add(f.MinAttempts > 0, condition{
		name:  "min-attempts",
		holds: func(l *schema.Letter) bool { return AttemptsOf(l) >= f.MinAttempts },
		value: fixed(strconv.Itoa(f.MinAttempts)),
		has:   func(l *schema.Letter) string { return strconv.Itoa(AttemptsOf(l)) },
	})
	add(!f.Since.IsZero(), condition{
		name:  "since",
		holds: func(l *schema.Letter) bool { return !l.DiedAt.Before(f.Since) },
		value: fixed(f.Since.UTC().Format(time.RFC3339)),
	})
	add(!f.Until.IsZero(), condition{
		name:  "until",
		holds: func(l *schema.Letter) bool { return l.DiedAt.Before(f.Until) },
		value: fixed(f.Until.UTC().Format(time.RFC3339)),
	})
	add(f.Text != "", f.textCondition())
	return all
}

func equals(name, want string, has func(*schema.Letter) string) condition {
	return condition{
		name: name, has: has, value: fixed(want),
		holds: func(l *schema.Letter) bool { return has(l) == want },
	}
}

func fixed(value string) func(func(string) string) string {
	return func(func(string) string) string { return value }
}

func (f Filter) reasonCondition() condition {
	names := make([]string, len(f.Reasons))
	for i, r := range f.Reasons {
		names[i] = string(r)
	}
	return condition{
		name:  "reason",
		holds: func(l *schema.Letter) bool { return slices.Contains(f.Reasons, l.Reason) },
		value: fixed(strings.Join(names, ",")),
		has:   func(l *schema.Letter) string { return string(l.Reason) },
	}
}

func (f Filter) errcodeCondition() condition {
	codes := make([]string, len(f.Errcodes))
	for i, c := range f.Errcodes {
		codes[i] = strconv.Itoa(c)
	}
	return condition{
		name: "errcode",
		holds: func(l *schema.Letter) bool {
			return l.Errcode != nil && slices.Contains(f.Errcodes, *l.Errcode)
		},
		value: fixed(strings.Join(codes, ",")),
		has: func(l *schema.Letter) string {
			if l.Errcode == nil {
				return ""
			}
			return strconv.Itoa(*l.Errcode)
		},
	}
}

func (f Filter) textCondition() condition {
	text := strings.ToLower(f.Text)
	contains := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return condition{
		name:  "text",
		holds: func(l *schema.Letter) bool { return contains(l.Detail) || contains(l.Errmsg) },
		value: func(inPlace func(string) string) string {
			return strconv.Quote(openids.ReplaceAllStringFunc(f.Text, inPlace))
		},
	}
}
