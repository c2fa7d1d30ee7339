// Package overview is the first screen: is it sending, what is held and why, what is late, what
// died since yesterday, and what to do next.
//
//	overview.go  what the screen shows; its JSON is stable
//	keeper.go    keeps it fresh while somebody looks, each part as often as it is cheap
//	parts.go     reads its parts at the broker; expiring.go what will expire while it waits
//	compose.go   PURE: what was read becomes the screen
//	problems.go  PURE: what an operator should know of, in order; problems_all.go of no app;
//	             words.go in both languages
//	forecast.go  PURE: when a budget of a day will be used up
//
// Nothing is changed by looking, and nothing is made: queues are read by direct get, never by a
// consumer.
package overview

import (
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/internal/replay"
)

// Overview is the first screen. Its parts are read at different times: each says when.
type Overview struct {
	At        time.Time `json:"at"` // of the totals, the workers, the apps and the problems
	Totals    Totals    `json:"totals"`
	Workers   []Worker  `json:"workers"`
	Apps      []App     `json:"apps"`     // in their order in the configuration
	Problems  []Problem `json:"problems"` // the most urgent first
	Dead      Dead      `json:"dead"`
	Jobs      Jobs      `json:"jobs"`
	Campaigns Campaigns `json:"campaigns"`
}

// Text is a sentence in both languages.
type Text struct {
	En string `json:"en"`
	Zh string `json:"zh"`
}

// In is the sentence in a language: "zh" for Chinese, anything else for English.
func (t Text) In(lang string) string {
	if lang == "zh" {
		return t.Zh
	}
	return t.En
}

// Totals are of all apps.
type Totals struct {
	PerSecond    float64 `json:"per_second"` // sends, by the workers' heartbeats
	SentLastHour int     `json:"sent_last_hour"`
	DeadLastHour int     `json:"dead_last_hour"`
	SentToday    int64   `json:"sent_today"` // of the apps whose sends of a day are counted
	Queued       uint64  `json:"queued"`
	Waiting      uint64  `json:"waiting"` // for their time or their retry
	InFlight     int     `json:"in_flight"`
	Letters      uint64  `json:"letters"`       // in the box
	DeadLastDay  *int    `json:"dead_last_day"` // in the last 24 h; null while it is being counted
	Unknown      *int    `json:"unknown"`       // of them, of unknown outcome; null likewise
	Held         int     `json:"held"`          // apps
	Apps         int     `json:"apps"`
	Workers      int     `json:"workers"`
}

// Worker is one that is alive.
type Worker struct {
	Name      string    `json:"name"`
	Host      string    `json:"host"`
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	Seen      time.Time `json:"seen"` // its last sign of life, by the broker's clock
	Leaving   bool      `json:"leaving"`
	InFlight  int       `json:"in_flight"`
	PerSecond float64   `json:"per_second"`
	Apps      int       `json:"apps"`   // that it may read
	Shards    int       `json:"shards"` // that it reads
}

// App is one app's row.
type App struct {
	AppID      string     `json:"appid"`
	Name       string     `json:"name,omitempty"`
	Configured bool       `json:"configured"`
	Served     bool       `json:"served"`             // by a living worker
	State      string     `json:"state"`              // apps.Open, apps.Held, apps.NoQueue
	Kind       string     `json:"kind,omitempty"`     // of the hold that counts: a gate.Kind
	Why        Text       `json:"why,omitzero"`       // it is held
	Do         Text       `json:"do,omitzero"`        // about the hold
	Command    string     `json:"command,omitempty"`  // that does it, or helps with it
	By         string     `json:"by,omitempty"`       // who paused it, or which worker noticed
	Errcode    int        `json:"errcode,omitempty"`  // of WeChat's answer that held it
	Errmsg     string     `json:"errmsg,omitempty"`   // as it came
	Since      *time.Time `json:"since,omitempty"`    // it is held
	NextTry    *time.Time `json:"next_try,omitempty"` // nil: an operator lifts it
	Trying     bool       `json:"trying"`             // a worker tries it now

	PerSecond float64 `json:"per_second"` // sends, by the workers' heartbeats
	InFlight  int     `json:"in_flight"`
	Budget    float64 `json:"budget"` // rate.per_second
	Use       float64 `json:"use"`    // of the budget, 0 to 1
	Day       *Day    `json:"day"`    // nil: nobody counts

	Live    Backlog    `json:"live"`
	Bulk    Backlog    `json:"bulk"`
	Queued  uint64     `json:"queued"` // live and bulk
	Oldest  *time.Time `json:"oldest"` // of both, when it was queued; null when nothing is
	Waiting uint64     `json:"waiting"`
	Dead    uint64     `json:"dead"` // letters in the box
	Late    bool       `json:"late"` // the oldest live intent has waited for longer than it should

	SentLastHour int           `json:"sent_last_hour"`
	DeadLastHour int           `json:"dead_last_hour"`
	P50          float64       `json:"p50"` // seconds, of live; of bulk if there was no live
	P99          float64       `json:"p99"`
	Points       []pulse.Point `json:"points"`   // pulse.Minutes of them, or none
	Expiring     *Expiring     `json:"expiring"` // null when nothing waits for long
}

// Backlog is what one lane has queued.
type Backlog struct {
	Queued uint64     `json:"queued"`
	Oldest *time.Time `json:"oldest"` // when the first was queued; null when nothing is
}

// Day is how an app's budget of a day stands. All but Used are zero or null when rate.per_day is 0.
type Day struct {
	Budget   int64      `json:"budget"`
	Used     int64      `json:"used"` // with what workers have taken and not used yet
	Left     int64      `json:"left"`
	Use      float64    `json:"use"` // 0 to 1
	ResetsAt time.Time  `json:"resets_at"`
	UsedUpAt *time.Time `json:"used_up_at"` // as things go, before ResetsAt; null: it lasts
}

// Expiring is what will expire while it waits, as far as the first intents of the queue show. They
// are looked at while the app is held, or when the first has waited for a minute.
type Expiring struct {
	Looked   int        `json:"looked"`   // at so many intents, the first of the queue
	Of       uint64     `json:"of"`       // so many that are queued
	Soon     int        `json:"soon"`     // of those looked at, that expire before Until
	Until    time.Time  `json:"until"`    // when the hold ends, but an hour from now at least
	Earliest *time.Time `json:"earliest"` // deadline of those looked at; null: none has one
}

// Severity is how urgent a problem is.
type Severity string

// The severities, the most urgent first.
const (
	Critical Severity = "critical" // something is lost, or nothing is sent
	Warning  Severity = "warning"  // it will be, unless somebody acts
	Notice   Severity = "notice"   // to know
)

func (s Severity) rank() int { return slices.Index([]Severity{Critical, Warning, Notice}, s) }

// The kinds of problems.
const (
	NoWorker    = "no worker"
	IsHeld      = "held"
	Late        = "late"
	Dying       = "dying"
	WillExpire  = "expiring"
	Quota       = "quota"
	LettersFull = "letters full"
	LettersEnd  = "letters end"
	Clock       = "clock"
	Halted      = "halted" // a job or a campaign
	Unread      = "unread" // a part could not be read
)

// Problem is something that an operator should know of.
type Problem struct {
	Severity Severity   `json:"severity"`
	Kind     string     `json:"kind"`
	App      string     `json:"app,omitempty"`   // appid; "" when it is about all
	Name     string     `json:"name,omitempty"`  // of the app
	About    string     `json:"about,omitempty"` // id of a group, a job or a campaign
	Since    *time.Time `json:"since,omitempty"`
	Says     Text       `json:"says"`
	Do       Text       `json:"do"`
	Command  string     `json:"command,omitempty"` // to copy

	weight uint64 // of two problems of a kind the heavier one comes first
	cause  string // what problems of several apps may have in common
	short  Text   // says that of many apps
}

// Dead is what died in the last 24 h, in groups.
type Dead struct {
	At       time.Time `json:"at,omitzero"` // when it was counted; zero while it is being counted
	Counting bool      `json:"counting"`    // for the first time
	Took     float64   `json:"took"`        // seconds
	Since    time.Time `json:"since,omitzero"`
	Count    int       `json:"count"`   // of all groups
	Unknown  int       `json:"unknown"` // of these, whose outcome is unknown
	Groups   []Group   `json:"groups"`  // the ten largest; those that somebody looks after last
	More     int       `json:"more"`    // groups
	Error    string    `json:"error,omitempty"`
}

// Group is letters that died of the same thing, and what that means.
type Group struct {
	deadletter.Group
	Name  string `json:"name,omitempty"` // of the app
	Means Text   `json:"means"`
	Do    Text   `json:"do"`

	Command string `json:"command"` // that shows the letters
}

// Jobs are the replays that have not ended.
type Jobs struct {
	At    time.Time       `json:"at,omitzero"`
	Rows  []replay.Status `json:"rows"`
	Error string          `json:"error,omitempty"`
}

// Campaigns are those that have not ended.
type Campaigns struct {
	At    time.Time         `json:"at,omitzero"`
	Rows  []campaign.Status `json:"rows"` // twenty at most
	More  int               `json:"more"`
	Error string            `json:"error,omitempty"`
}
