package campaign

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/schema"
)

// terms returns what needs no file and no broker.
func (s *start) terms(name string, now time.Time) (campaign.Terms, error) {
	t := campaign.Terms{
		Campaign: name, Source: s.source, ExpiresIn: s.expiresIn,
		SendAt: s.sendAt.At(now), ExpiresAt: s.expiresAt.At(now), PerSecond: s.rate,
		By: s.settings.Actor(),
	}
	if err := schema.CheckToken("NAME", name); err != nil {
		return t, cli.Usagef("%w", err)
	}
	if err := (schema.Envelope{Source: s.source}).Check(); err != nil {
		return t, cli.Usagef("--source: %w", err)
	}
	var err error
	if t.Halt, err = parseMaxErrors(s.maxErrors); err != nil {
		return t, cli.Usagef("--max-errors %w", err)
	}
	if s.quiet != "" {
		if t.Quiet, err = campaign.ParseQuiet(s.quiet); err != nil {
			return t, cli.Usagef("--quiet-hours %w", err)
		}
	}
	switch {
	case s.rate < 0:
		return t, cli.Usagef("--rate cannot be below 0, which is for the app's rate")
	case s.expiresIn > 0 && !t.ExpiresAt.IsZero():
		return t, cli.Usagef("--expires-in and --expires-at: which one is meant?")
	case !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now):
		return t, cli.Usagef("--expires-at has passed")
	case !t.ExpiresAt.IsZero() && !t.SendAt.IsZero() && !t.ExpiresAt.After(t.SendAt):
		return t, cli.Usagef("--expires-at is not behind --send-at: no time is left")
	}
	return t, nil
}

// checkBegin refuses a time to begin that has passed, other than one of just now.
func checkBegin(t campaign.Terms, now time.Time) error {
	const justNow = time.Minute
	if !t.SendAt.IsZero() && now.Sub(t.SendAt) > justNow {
		return cli.Usagef("--send-at has passed: leave it out to begin at once")
	}
	return nil
}

// resumed are the terms of a start of which the first may have been made before: what counts from
// now was fixed by that one.
func (s *start) resumed(t campaign.Terms) campaign.Terms {
	if s.sendAt.Relative() {
		t.SendAt = time.Time{}
	}
	if s.expiresAt.Relative() {
		t.ExpiresAt = time.Time{}
	}
	return t
}

// parseMaxErrors reads a share such as 20%, a number of deaths, or 0 for never.
func parseMaxErrors(text string) (campaign.Halt, error) {
	bad := fmt.Errorf("%q is not a share of the first sends such as 20%%, a number of deaths such "+
		"as 500, or 0 for never", text)
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		n, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
		if err != nil || !(n >= 0 && n <= 100) {
			return campaign.Halt{}, bad
		}
		return campaign.Halt{Share: n / 100}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return campaign.Halt{}, bad
	}
	return campaign.Halt{Deaths: n}, nil
}

// speed is what bounds how fast a campaign of an app is sent.
func speed(app config.App, t campaign.Terms) campaign.Speed {
	v := campaign.Speed{PerSecond: app.Rate.PerSecond, PerDay: app.Rate.PerDay, Quiet: t.Quiet}
	if t.PerSecond > 0 && (v.PerSecond <= 0 || t.PerSecond < v.PerSecond) {
		v.PerSecond = t.PerSecond
	}
	return v
}

// bounds are the bounds of a speed in words.
func bounds(v campaign.Speed) string {
	words := []string{fmt.Sprintf("%g a second", v.PerSecond)}
	if v.PerDay > 0 {
		words = append(words, cli.Grouped(int64(v.PerDay))+" a day")
	}
	text := "at most " + strings.Join(words, " and ")
	if q := v.Quiet.String(); q != "" {
		text += ", none from " + strings.Replace(q, "-", " to ", 1) + " Beijing time"
	}
	return text
}

// begins is when the first message may be sent.
func begins(t campaign.Terms, now time.Time) time.Time {
	if t.SendAt.After(now) {
		return t.SendAt
	}
	return now
}

// deadline is when the whole campaign expires; zero if it does not.
func deadline(t campaign.Terms, now time.Time) time.Time {
	if t.ExpiresIn > 0 {
		return begins(t, now).Add(t.ExpiresIn)
	}
	return t.ExpiresAt
}

// late is how many of n messages miss the deadline even if nothing else is sent.
func late(n int, t campaign.Terms, v campaign.Speed, now time.Time) int {
	end, from := deadline(t, now), begins(t, now)
	if end.IsZero() {
		return 0
	}
	fits := func(n int) bool { return !from.Add(v.Takes(n, from)).After(end) }
	low, high := 0, n // low fits
	for low < high {
		middle := (low + high + 1) / 2
		if fits(middle) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return n - low
}

// takes says how long n messages take; "" when nothing bounds it.
func takes(n int, t campaign.Terms, v campaign.Speed, now time.Time) string {
	d := v.Takes(n, begins(t, now))
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf("%s or longer, %s", cli.About(max(d, time.Second)), bounds(v))
}
