package worker

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// delivery is one intent in the hands of this worker, from the message that
// brought it to its acknowledgement.
type delivery struct {
	msg     *nats.Msg
	mayCall func(now time.Time) bool // its lane's mayStart

	// Guarded by app.mu.
	scheduled
	renewed time.Time
	timer   *time.Timer

	replyMu sync.Mutex
	reply   string // how to acknowledge it; replaced when the consumer was made anew

	// The handler's, while it has its slot or its end is written.
	life
	env       wire.Envelope
	packet    []byte // what goes to the API
	published time.Time
	term      uint64 // of the worker in the pool, when its start was written
	hold      *orderedHold
	burial    *burial
}

// place is where a delivery is within its app.
type place uint8

const (
	returned               place = iota // to be given back when the app closes
	ready                               // waits for slot and permission
	waitingBehindRecipient              // waits behind its recipient's earlier intent
	inSlot                              // its handler alone touches it
	waiting                             // for a timer
	settling                            // its end is being written; then acknowledged
	forgotten
)

// scheduled is what the scheduler knows of a delivery.
type scheduled struct {
	line       *line
	place      place
	released   bool // the recipient's later intents do not wait for it
	permission gate.Permission
	begunAt    time.Time // when it got its slot
	seen       seen
}

// seen is what is known of a delivery before it is read.
type seen struct {
	id, kind string
	glanced  bool
}

func (d *delivery) setReply(reply string) {
	d.replyMu.Lock()
	d.reply = reply
	d.replyMu.Unlock()
}

func (d *delivery) getReply() string {
	d.replyMu.Lock()
	defer d.replyMu.Unlock()
	return d.reply
}

// recipient is the openid that it is for: of bulk, and where the subject cannot be
// read, as the packet says, of which nothing else is checked.
func (d *delivery) recipient() string {
	if d.live() && d.subject.Key != "" {
		return d.subject.Key
	}
	return wire.PeekToUser(d.msg.Data)
}

// campaignName is the campaign that it belongs to; "" for none.
func (d *delivery) campaignName() string {
	if d.subject.Lane != schema.LaneBulk {
		return ""
	}
	return d.subject.Key
}

// adopt takes over what an envelope says of the intent.
func (d *delivery) adopt(env wire.Envelope) {
	d.env = env
	if d.id = env.ID; d.id == "" {
		d.id = wire.DefaultID(d.queueMade, d.seq)
	}
	if d.published = env.PublishedAt; d.published.IsZero() {
		d.published = d.stored
	}
	d.generation, d.attempt = max(env.Generation, 1), max(env.Attempt, 1)
	d.tried, d.unknown = env.Tried, unknownOf(env.Tried)
	d.key = ledger.KeyOf(d.subject.AppID, d.id)
	d.body = ledger.BodyOf(d.msg.Data)
	d.campaign = ledger.CampaignOf(d.subject.AppID, d.campaignName())
	d.lastEnd = ledger.ParseEnd(env.Before).DiedOf(env.BeforeErrcode)
	if env.Job != "" {
		d.job = ledger.JobOf(env.Job, d.subject.AppID)
	}
}

// orderedHold is the hold that a verdict orders, and when the platform says that
// it ends.
type orderedHold struct {
	gate.Hold
	hint time.Time
}

// burial is a letter on its way to the dead letters.
type burial struct {
	letter *schema.Letter
	msg    *nats.Msg
	seq    uint64 // in KEFU_DEAD; 0 before it is stored
}
