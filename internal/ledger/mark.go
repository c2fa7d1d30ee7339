package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/kefuhq/kefu/schema"
)

// Key stands for one intent id of one app: 64 bits of a hash. With a hundred
// million remembered ids the chance that any two share a key is 0.03 %, and it
// would show as an `id-reuse` letter, never as a silent loss.
type Key uint64

// KeyOf hashes an app and an intent id.
func KeyOf(appID, id string) Key {
	b := make([]byte, 0, len(appID)+1+len(id))
	b = append(b, appID...)
	b = append(b, 0)
	b = append(b, id...)
	sum := sha256.Sum256(b)
	return Key(binary.BigEndian.Uint64(sum[:]))
}

// BodyOf hashes a packet as published: a repeat of an id with another body is
// a mistake of the producer's, not a repeat.
func BodyOf(packet []byte) uint32 {
	sum := sha256.Sum256(packet)
	return binary.BigEndian.Uint32(sum[:])
}

// Campaign stands for one campaign of one app: 64 bits of a hash.
type Campaign uint64

// NoCampaign is that of a live intent. Zero is not: earlier versions do not say
// which campaign a mark belongs to.
const NoCampaign Campaign = 1

// CampaignOf hashes an app and a campaign's name; without a name it is NoCampaign.
func CampaignOf(appID, name string) Campaign {
	if name == "" {
		return NoCampaign
	}
	// No id of an intent begins with this byte: a campaign and an intent of one name
	// have two hashes.
	return max(Campaign(KeyOf(appID, "\x00"+name)), NoCampaign+1)
}

// Job stands for what one job does in one app: 32 bits of a hash. With a thousand
// jobs a month the chance that any two share their counts is 0.01 %.
type Job uint32

// JobOf hashes a job's id and an app. It is never 0, which stands for no job.
func JobOf(job, appID string) Job {
	return max(Job(KeyOf(appID, job)>>32), 1)
}

// Kind is what a mark says.
type Kind uint8

// The kinds of marks. Their numbers are stored: never change one.
const (
	Start     Kind = 1 // the call is about to be made
	Clear     Kind = 2 // nothing is under way; Attempt attempts are spent
	Later     Kind = 3 // went to KEFU_LATER; attempt number Attempt comes from there
	Sent      Kind = 4 // terminal
	Dead      Kind = 5 // terminal; a letter is in KEFU_DEAD
	Cancelled Kind = 6 // terminal
	Suspect   Kind = 7 // handed out, perhaps not for the first time, and not for an end
	Harmless  Kind = 8 // and handled without harm: takes the Suspect marks back, says no more

	// contextKind is no mark of an intent: it says what the marks that follow it in
	// its batch have in common.
	contextKind Kind = 9

	// Gone says that the broker has the message no more: it was purged or deleted.
	// Earlier versions take no notice of it, so it may be written only while no
	// worker of one is there.
	Gone Kind = 10
)

// Dying is the kind of mark that comes before a letter: the intent's call has
// been answered, and it is to be buried for this reason. Whoever finds it
// without the Dead that follows writes the letter again; to call once more
// might give the intent a second, different end.
func Dying(r schema.Reason) Kind { return dying + Kind(slices.Index(storedReasons[:], r)) }

// Dying says whether this is a mark of Dying, and for which reason.
func (k Kind) Dying() (schema.Reason, bool) {
	if k < dying || int(k-dying) >= len(storedReasons) {
		return "", false
	}
	return storedReasons[k-dying], true
}

const dying Kind = 16

// storedReasons are the reasons in the order of their kinds. It is stored: append
// only.
var storedReasons = [...]schema.Reason{
	schema.ReasonRejected, schema.ReasonRecipient, schema.ReasonExhausted, schema.ReasonUnknown,
	schema.ReasonExpired,
	schema.ReasonPoison, schema.ReasonInvalid, schema.ReasonIDReuse,
}

func (k Kind) String() string {
	if _, ok := k.Dying(); ok {
		return "dying"
	}
	switch k {
	case Start:
		return "start"
	case Clear:
		return "clear"
	case Later:
		return "later"
	case Sent:
		return "sent"
	case Dead:
		return "dead"
	case Cancelled:
		return "cancelled"
	case Suspect:
		return "suspect"
	case Harmless:
		return "harmless"
	case Gone:
		return "gone"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Terminal says whether an intent's generation ends with this mark.
func (k Kind) Terminal() bool { return k == Sent || k == Dead || k == Cancelled }

// Mark is one entry of the log.
type Mark struct {
	Key Key
	Seq uint64 // of the message in the app's send stream, below 2^48

	// Stream is when the stream that Seq counts in was made, in ns since 1970 by
	// the broker's clock. A queue that is made anew counts from 1 again. 0 says
	// nothing about it.
	Stream int64

	Body uint32
	Job  Job // that published this generation; 0 for none, and from earlier versions
	Kind Kind

	// Generation counts how often the id came to life: 0 in a Start or Suspect
	// leaves it to the ledger (a producer does not know it), 1 is the first.
	Generation uint16
	Attempt    uint8 // see Kind
	Unknown    uint8 // attempts so far whose outcome nobody knows

	// Again: the message came by kefu.again, as a retry, a replay or a due intent, and is no
	// producer's repeat.
	Again bool

	// Closed, of a Dead for `recipient`: its letter has the errcode of a closed window, 45015.
	Closed bool

	Campaign Campaign
	Before   End           // of the generation before this one, as far as the writer knows it
	Reason   schema.Reason // of a Dead
}

// A batch of marks, as stored in one message: a version byte, the batch's
// number in eight bytes, then 24 bytes for each mark:
//
//	0  key          8
//	8  sequence     6
//	14 body         4
//	18 generation   2
//	20 attempt      1
//	21 unknown      1
//	22 kind         1
//	23 flags        1   bit 0: again; bits 1 to 7: number of the context, 0 for none
//
// A mark of contextKind goes before the first one that has its context:
//
//	0  stream       8   when it was made
//	8  campaign     8   0: not said
//	16 before       1   an End
//	17 end          1   of the Dead marks, an End; else 0
//	18 job          4   0: none, or not said
//	22 kind         1   contextKind
//	23 flags        1   bit 0: closed; bits 1 to 7: number of the context
//
// Closed says that the window for replies was closed at each end for `recipient` in 16
// and 17. Where these two differ in that, it speaks of 17: what was before is then known
// from the Start of this generation, which stands in the log a moment before.
//
// Workers of two versions read each other's batches while one replaces the
// other. So the layout stays as it is: a batch of another version byte is
// skipped whole, with all that it says. What is new is a kind, which an older
// worker takes no notice of, or a flag or a byte of a context, which it does not
// look at.
const (
	version    = 1
	headerSize = 1 + 8
	markSize   = 24
	flagAgain  = 1 // of a mark
	flagClosed = 1 // of a context
	maxSeq     = 1<<48 - 1

	contextShift = 1
	maxContexts  = 1<<7 - 1 // that a batch can tell apart
)

var errBatch = errors.New("ledger: unreadable batch of marks")

// markContext is what many marks of a batch have in common, and is written once.
type markContext struct {
	stream   int64
	campaign Campaign
	job      Job
	before   End
	dead     End // of Dead marks
}

func (m Mark) context() markContext {
	c := markContext{stream: m.Stream, campaign: m.Campaign, job: m.Job, before: m.Before}
	if m.Kind == Dead {
		c.dead = m.dead()
	}
	return c
}

// dead is the end of a Dead mark; zero if its reason is of an earlier version.
func (m Mark) dead() End {
	if m.Closed {
		return deadFor(m.Reason).close()
	}
	return deadFor(m.Reason)
}

// closed is the flag of the context's ends.
func (c markContext) closed() bool {
	return c.dead.closed() || c.dead != endRecipient && c.before.closed()
}

// batch is a batch of marks being written.
type batch struct {
	data     []byte
	contexts []markContext // by number, from 1
	latest   int           // number of the context of the last mark: they come in runs
}

// newBatch begins a batch of about size marks.
func newBatch(number uint64, size int) batch {
	data := make([]byte, 0, headerSize+(size+1)*markSize)
	return batch{data: binary.BigEndian.AppendUint64(append(data, version), number)}
}

// add appends a mark; false says that the batch has no room for its context.
func (b *batch) add(m Mark) bool {
	c := m.context()
	switch {
	case c == markContext{}:
		b.data = appendMark(b.data, m, 0)
		return true
	case b.latest > 0 && b.contexts[b.latest-1] == c:
	default:
		number := slices.Index(b.contexts, c) + 1
		if number == 0 {
			if len(b.contexts) == maxContexts {
				return false
			}
			b.contexts = append(b.contexts, c)
			number = len(b.contexts)
			b.data = appendContext(b.data, c, number)
		}
		b.latest = number
	}
	b.data = appendMark(b.data, m, b.latest)
	return true
}

func appendMark(dst []byte, m Mark, context int) []byte {
	var b [markSize]byte
	// The key overwrites the two upper bytes of the sequence, which are zero.
	binary.BigEndian.PutUint64(b[6:], m.Seq&maxSeq)
	binary.BigEndian.PutUint64(b[0:], uint64(m.Key))
	binary.BigEndian.PutUint32(b[14:], m.Body)
	binary.BigEndian.PutUint16(b[18:], m.Generation)
	b[20], b[21], b[22] = m.Attempt, m.Unknown, byte(m.Kind)
	b[23] = byte(context << contextShift)
	if m.Again {
		b[23] |= flagAgain
	}
	return append(dst, b[:]...)
}

func appendContext(dst []byte, c markContext, number int) []byte {
	var b [markSize]byte
	binary.BigEndian.PutUint64(b[0:], uint64(c.stream))
	binary.BigEndian.PutUint64(b[8:], uint64(c.campaign))
	b[16], b[17] = byte(c.before.stored()), byte(c.dead.stored())
	binary.BigEndian.PutUint32(b[18:], uint32(c.job))
	b[22], b[23] = byte(contextKind), byte(number<<contextShift)
	if c.closed() {
		b[23] |= flagClosed
	}
	return append(dst, b[:]...)
}

func readContext(b []byte) markContext {
	c := markContext{
		stream:   int64(binary.BigEndian.Uint64(b[0:])),
		campaign: Campaign(binary.BigEndian.Uint64(b[8:])),
		before:   End(b[16]).valid(), dead: End(b[17]).valid(),
		job: Job(binary.BigEndian.Uint32(b[18:])),
	}
	if b[23]&flagClosed != 0 {
		c.before, c.dead = c.before.close(), c.dead.close()
	}
	return c
}

// checkBatch says whether a stored batch can be read, and its number.
func checkBatch(data []byte) (number uint64, err error) {
	if len(data) < headerSize || data[0] != version || (len(data)-headerSize)%markSize != 0 {
		return 0, errBatch
	}
	return binary.BigEndian.Uint64(data[1:]), nil
}

// readBatch calls f for each mark of a batch that passed checkBatch.
func readBatch(data []byte, f func(Mark)) {
	var contexts [maxContexts + 1]markContext
	for b := data[headerSize:]; len(b) > 0; b = b[markSize:] {
		number := b[23] >> contextShift
		if Kind(b[22]) == contextKind {
			if number > 0 {
				contexts[number] = readContext(b)
			}
			continue
		}
		c := &contexts[number]
		m := Mark{
			Key:        Key(binary.BigEndian.Uint64(b[0:])),
			Seq:        binary.BigEndian.Uint64(b[6:]) & maxSeq,
			Body:       binary.BigEndian.Uint32(b[14:]),
			Generation: binary.BigEndian.Uint16(b[18:]),
			Attempt:    b[20],
			Unknown:    b[21],
			Kind:       Kind(b[22]),
			Again:      b[23]&flagAgain != 0,
			Stream:     c.stream, Campaign: c.campaign, Job: c.job, Before: c.before,
		}
		if m.Kind == Dead {
			_, m.Reason = c.dead.State()
			m.Closed = c.dead.closed()
		}
		f(m)
	}
}
