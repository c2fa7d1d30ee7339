package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/schema"
)

// report is the one place that tells the outside of an intent's end: one log line,
// one metric.
func (e *engine) report(d *delivery) {
	now, end := time.Now(), &d.end
	e.metrics.settled(e.appID, d.subject.Lane, end.state, end.reason, d.possibleDuplicate())
	took := pulse.NotMeasured
	if d.generation == 1 { // a letter that is replayed waited for a person, not for kefu
		took = max(now.Sub(latest(d.published, d.sendAt)), 0)
		e.metrics.took(e.appID, d.subject.Lane, took)
	}
	e.pulse.Ended(now, d.subject.Lane, end.state, took)
	e.metrics.ofSource(d.env.Source, end.state)
	if end.state == schema.StateSent {
		e.sent.Add(1)
	}
	level := slog.LevelInfo
	if end.state == schema.StateDead {
		level = slog.LevelWarn
	}
	if !e.log.Enabled(context.Background(), level) { // do not hash each of many openids a second
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("app", e.appID), slog.String("id", d.id),
		slog.String("lane", string(d.subject.Lane)),
		slog.String("to", e.pseudonyms.Of(d.recipient())), slog.Int("attempts", d.attempt-1),
		slog.Duration("after", now.Sub(d.published).Round(time.Millisecond)))
	if d.generation > 1 {
		attrs = append(attrs, slog.Int("generation", d.generation))
	}
	if !d.live() {
		attrs = append(attrs, slog.String("campaign", d.subject.Key))
	}
	if end.reason != "" {
		attrs = append(attrs,
			slog.String("reason", string(end.reason)), slog.String("why", end.detail))
	}
	if d.possibleDuplicate() {
		attrs = append(attrs, slog.Bool("possible_duplicate", true))
	}
	e.log.LogAttrs(context.Background(), level, string(end.state), attrs...)
}

// reportRepeat counts an intent that was dealt with before.
func (e *engine) reportRepeat(d *delivery) {
	e.metrics.repeats.WithLabelValues(e.appID).Inc()
	e.log.Debug("known already", "app", e.appID, "id", d.id)
}
