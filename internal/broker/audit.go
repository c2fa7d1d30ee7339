package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// AuditEntry says who did what to how many intents. It names no recipient:
// entries are kept for a year, and whoever may read them need not be whoever
// may see the customers.
type AuditEntry struct {
	Time   time.Time `json:"time"`
	Actor  string    `json:"actor"` // user@host of a terminal, the name of a console's user
	Verb   string    `json:"verb"`  // a subject token: replay, cancel, pause …
	AppID  string    `json:"appid,omitempty"`
	Filter string    `json:"filter,omitempty"` // what the action was applied to
	Count  int       `json:"count"`            // intents it touched
	Detail string    `json:"detail,omitempty"` // one sentence
}

// AuditVerbs returns the verbs that kefu writes.
func AuditVerbs() []string {
	return []string{
		"acknowledge", "campaign", "cancel", "discard", "forget", "import", "kfaccount-add", "kfaccount-avatar",
		"kfaccount-delete", "kfaccount-update", "pause", "probe", "quota-reset", "reopen", "replay",
		"resume", "reveal", "setup", "typing",
	}
}

// Audit writes an entry to KEFU_AUDIT and returns when it is stored. A zero
// Time is now. An action that cannot be written down should not be done.
func (c *Conn) Audit(ctx context.Context, e AuditEntry) error {
	subject := wire.AuditSubject(e.Verb)
	if subject == "" {
		return fmt.Errorf("audit: verb %q is not a subject token", e.Verb)
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	msg := nats.NewMsg(subject)
	msg.Data = body
	// Its own id: the outbox repeats what was not answered.
	msg.Header.Set(schema.HeaderMsgID, rand.Text())
	if _, err := c.Outbox.PublishWait(ctx, msg); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// auditedWait is for how long the broker may not answer when the last entry of
// Audited is written.
const auditedWait = 5 * time.Second

// Audited does something between an entry in the audit that says that it begins,
// and with which options ("" or ", 100 at most"), and one that says what came of
// it. do returns the count and the detail of the latter.
func (c *Conn) Audited(
	ctx context.Context, e AuditEntry, options string,
	do func() (count int, detail string, err error),
) error {
	e.Detail = "begins" + options
	if err := c.Audit(ctx, e); err != nil {
		return err
	}
	var err error
	e.Count, e.Detail, err = do()
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditedWait)
	defer cancel()
	return errors.Join(err, c.Audit(after, e))
}

// AuditFilter chooses entries of the audit. Every field that is set must hold;
// a list holds when one of its values does. The zero AuditFilter chooses all.
type AuditFilter struct {
	Since time.Time // done then or later
	Until time.Time // done before then
	Verbs []string
	Actor string // user@host, or the user without a host
	AppID string
}

// AuditRecord is an entry as the audit holds it. Of one that cannot be read
// only the verb, from its subject, and the time at which it was stored are
// known.
type AuditRecord struct {
	AuditEntry
	Unreadable string `json:"unreadable,omitempty"` // why; empty for one that can be read
}

// auditDelay is by how much the time in an entry and the time at which the
// broker stored it may differ: clocks do, and the outbox repeats.
const auditDelay = time.Hour

// ReadAudit calls each for the entries that a filter chooses, the oldest
// first. An entry that cannot be read is among them whatever the filter says
// about actor and app: it may be one that is looked for.
func (c *Conn) ReadAudit(
	ctx context.Context, f AuditFilter, each func(AuditRecord) error,
) error {
	opts := ScanOptions{}
	if len(f.Verbs) == 1 {
		opts.Subject = wire.AuditSubject(f.Verbs[0])
	}
	if !f.Since.IsZero() {
		opts.Since = f.Since.Add(-auditDelay)
	}
	return c.Scan(ctx, wire.StreamAudit, opts, func(s Stored) error {
		if !f.Until.IsZero() && s.Time.After(f.Until.Add(auditDelay)) {
			return ErrStopScan
		}
		if r := recordOf(s); f.Match(r) {
			return each(r)
		}
		return nil
	})
}

// recordOf reads a message of KEFU_AUDIT.
func recordOf(s Stored) AuditRecord {
	var e AuditEntry
	why := ""
	switch err := json.Unmarshal(s.Data, &e); {
	case err != nil:
		why = "it is no JSON of an entry"
	case e.Verb == "" || e.Actor == "" || e.Time.IsZero():
		why = "time, actor or verb is missing"
	default:
		return AuditRecord{AuditEntry: e}
	}
	verb := s.Subject[strings.LastIndexByte(s.Subject, '.')+1:]
	return AuditRecord{AuditEntry: AuditEntry{Time: s.Time.UTC(), Verb: verb}, Unreadable: why}
}

// Match says whether the filter chooses an entry.
func (f AuditFilter) Match(r AuditRecord) bool {
	switch {
	case !f.Since.IsZero() && r.Time.Before(f.Since),
		!f.Until.IsZero() && !r.Time.Before(f.Until),
		len(f.Verbs) > 0 && !slices.Contains(f.Verbs, r.Verb):
		return false
	case r.Unreadable != "":
		return true
	case f.AppID != "" && f.AppID != r.AppID:
		return false
	}
	user, _, _ := strings.Cut(r.Actor, "@")
	return f.Actor == "" || f.Actor == r.Actor || f.Actor == user
}
