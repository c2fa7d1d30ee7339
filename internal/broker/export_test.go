package broker

import "time"

// What tests of the outside need of the inside.
var (
	CompareVersions = compareVersions
	RedactURL       = redactURL
	HeadOf          = head
	QuickAck        = quickAck
	AckPrefix       = ackPrefix
	Beginning       = beginning
)

const (
	Silence      = silence
	ShortAbsence = shortAbsence
	Patience     = patience
	ScanBatch    = scanBatch
)

// Shorten has the puller's requests end, and its consumer give signs of life, sooner.
func (p *Puller) Shorten(expires, heartbeat time.Duration) {
	p.expires, p.heartbeat = expires, heartbeat
}

// SetPatience shortens the wait for an election; it is to be called before the first Publish.
func (o *Outbox) SetPatience(d time.Duration) { o.patience = d }

// Open is how many messages are on their way.
func (p *Puller) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// Shorten has the follower's requests end sooner.
func (o FollowOptions) Shorten(expires time.Duration) FollowOptions {
	o.expires = expires
	return o
}

// Hooks is how many hooks wait for a reconnect.
func (c *Conn) Hooks() int {
	c.hooks.mu.Lock()
	defer c.hooks.mu.Unlock()
	return len(c.hooks.fs)
}

// Heard is when the consumer gave its last sign of life.
func (p *Puller) Heard() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard
}
