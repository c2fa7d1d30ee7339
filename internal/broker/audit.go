package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
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
