package worker

import (
	"time"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// This file has the types that the rules of life.go are written in: the life, what
// happens to it, and what is done about that.

// life is one intent's way from its delivery to its acknowledgement.
type life struct {
	// The message that brings the intent; set once.
	subject     wire.Subject // its Key is "" if the message's subject cannot be read
	seq         uint64
	redelivered bool // it is, or may have been, handed out before
	stored      time.Time
	worker      string // this worker's name

	// Who the intent is; set by identify.
	identified bool
	queueMade  time.Time // when the stream was made that seq counts in
	id         string
	key        ledger.Key
	body       uint32
	campaign   ledger.Campaign
	job        ledger.Job // that published this generation
	sendAt     time.Time
	deadline   time.Time
	bad        error // why it cannot be sent, as a sentence for the letter

	// What it has cost so far.
	generation int
	lastEnd    ledger.End // how the id's life before this one ended
	attempt    int        // number of the next attempt
	unknown    int        // attempts of unknown outcome
	tried      []schema.Attempt

	// Where it stands.
	stage      stage
	decoded    bool
	everCalled bool      // a call was made, by this worker or by one before it
	called     bool      // a call was made by this worker, in this attempt
	suspected  bool      // its suspect mark must be taken back when it is released in good health
	passing    bool      // it has its slot only to be put off
	recalled   bool      // it has its slot only to be cancelled with its campaign
	asked      bool      // the broker was asked for the message that it repeats
	idReused   bool      // its id belongs to another message
	reached    bool      // the API was reached in this turn, and gave no reason to hold the app
	leftAlone  int       // how often it was left to another worker
	panics     int       // while it was handled here
	recovering bool      // what a panic left behind is being cleared up
	poison     string    // why it must not be handled any more
	retrying   time.Time // since when it holds back its recipient's later intents

	before  cost            // what it had cost before the attempt that stage speaks of
	awaits  ledger.Kind     // the mark that was written last and is waited for
	repeats ledger.Standing // what the ledger said of the message that this one repeats
	end     ending
	doing   stepKind // the step of the end that was ordered last
}

// live says whether the recipient's intents go in order.
func (l *life) live() bool { return l.subject.Lane == schema.LaneLive }

// stage is how far an intent's own attempt has come. It says what the ledger
// must be told when something unforeseen ends the attempt.
type stage uint8

const (
	stageIdle    stage = iota // no start of ours stands, or its end is being written
	stageStarted              // our start stands; the packet has not left
	stageCalling              // the packet may have left; the ledger does not know the outcome
	stageSent                 // the API has said that it is sent; the ledger does not know
)

// cost is what an intent had spent at some point.
type cost struct{ attempt, unknown, tried int }

// ending is the end that is being written.
type ending struct {
	steps           []stepKind // still to come
	state           schema.State
	reason          schema.Reason
	detail          string
	answer          *wechat.Error // that it died of
	until           time.Time     // later: its time
	delay           time.Duration // wait
	blocksRecipient bool          // wait: the recipient's later intents wait as well
}

// event is what has happened, and what was known at that time.
type event struct {
	kind eventKind
	now  time.Time
	facts

	bad      error
	late     bool
	free     bool
	missing  bool
	verdict  Verdict
	outcome  outcome
	called   bool // a call was made: attempt
	attempt  schema.Attempt
	answer   *wechat.Error
	holdBack time.Duration // how long a retry may hold back the recipient's later intents
}

// eventKind is what has happened.
type eventKind uint8

const (
	evTurn       eventKind = iota + 1 // it has a slot
	evIdentified                      // bad says why it cannot be sent
	evDecoded                         // likewise
	evLooked                          // facts
	evRuled                           // facts: what the ledger said of a mark
	evAsked                           // missing says whether the broker no longer has the message
	evJudged                          // the verdict on an outcome
	evUnsent                          // the packet did not leave; late: for its deadline
	evCutOff                          // the worker's end cut off the call; its outcome is unknown
	evRoom                            // free says whether there is any
	evDone                            // the last step was carried out; said is set after a mark
	evUnwritable                      // the letter cannot be written as JSON
	evStopping                        // the last step was cut short: the worker is ending
	evPanicked
)

// facts are what is known of an intent besides itself.
type facts struct {
	said        ledger.Standing
	mustNotCall bool // no call may be started now: the app is held, or the shard is not ours
	withdrawn   bool
	// it is withdrawn with its campaign, whose receipt tells of it
	withCampaign bool
	alive        bool // said.Worker is another one that lives
	ours         bool // said.Worker is this one
	carrierOurs  bool // said.Carrier is in hand here
}

// step is one thing to be done, and what it needs besides the life.
type step struct {
	kind            stepKind
	mark            ledger.Kind // stepMark
	seq             uint64      // stepAsk, and stepMark of another message
	outcome         outcome     // stepJudge
	delay           time.Duration
	blocksRecipient bool
}

// stepKind is what is to be done next.
type stepKind uint8

const (
	stepIdentify stepKind = iota + 1 // → identified
	stepDecode                       // → decoded
	stepLook                         // → looked
	stepMark                         // write the mark and wait for the ledger's answer → ruled
	stepAsk                          // ask the broker for the message with this sequence → asked
	stepCall                         // → judged, unsent or cutOff
	stepJudge                        // an outcome that no call of ours had → judged
	stepRoom                         // ask whether KEFU_LATER has room → room

	// The steps of an end. Each is followed by done.
	stepCompose       // the letter, in memory → done, or unwritable
	stepClear         // take the start back, and wait until the ledger has it
	stepClearUnwaited // the same without the wait: for what is tried again here
	stepHold          // hold the app, by the verdict
	stepReport        // log line and metrics
	stepReportRepeat  // the same, of an intent that was dealt with before
	stepMarkDying
	stepMarkSent
	stepMarkDead
	stepMarkCancelled
	stepMarkLater
	stepLetter
	stepIndex // where the letter lies
	stepReceipt
	stepLater // hand it to KEFU_LATER

	// What ends a turn in the slot, or the life.
	stepAck      // acknowledge, and forget
	stepForget   // another worker goes on with it, and acknowledges
	stepWait     // in the process
	stepGiveBack // when the app gives back what it has
)

func (k stepKind) String() string { return stepNames[k] }

var stepNames = [...]string{
	stepIdentify:      "identify",
	stepDecode:        "decode",
	stepLook:          "look",
	stepMark:          "mark",
	stepAsk:           "ask",
	stepCall:          "call",
	stepJudge:         "judge",
	stepRoom:          "room",
	stepCompose:       "compose",
	stepClear:         "clear",
	stepClearUnwaited: "clear, not waited for",
	stepHold:          "hold",
	stepReport:        "report",
	stepReportRepeat:  "report repeat",
	stepMarkDying:     "mark dying",
	stepMarkSent:      "mark sent",
	stepMarkDead:      "mark dead",
	stepMarkCancelled: "mark cancelled",
	stepMarkLater:     "mark later",
	stepLetter:        "letter",
	stepIndex:         "index",
	stepReceipt:       "receipt",
	stepLater:         "later",
	stepAck:           "ack",
	stepForget:        "forget",
	stepWait:          "wait",
	stepGiveBack:      "give back",
}
