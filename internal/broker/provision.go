package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// ChangeKind says what a difference means.
type ChangeKind string

// The kinds of difference between the objects at the broker and those asked for.
const (
	Create  ChangeKind = "create"  // the object is missing
	Update  ChangeKind = "update"  // can be changed in place, nothing is lost
	Lossy   ChangeKind = "lossy"   // can be changed in place, but drops what is stored
	Refused ChangeKind = "refused" // cannot be changed while the object exists

	noChange ChangeKind = "" // no difference that matters
)

// Change is one difference.
type Change struct {
	Stream string     `json:"stream"`
	Field  string     `json:"field,omitempty"` // empty for Create
	Have   string     `json:"have,omitempty"`
	Want   string     `json:"want,omitempty"`
	Kind   ChangeKind `json:"kind"`
	// with Refused: the reason, and what can be done; empty when the broker itself has no way
	Why string `json:"why,omitempty"`
}

func (c Change) String() string {
	if c.Kind == Create {
		return c.Stream + ": create"
	}
	return fmt.Sprintf("%s: %s is %s, wanted %s (%s)", c.Stream, c.Field, c.Have, c.Want, c.Kind)
}

// Plan is what would have to be done so that the broker holds what a Spec asks for.
type Plan struct {
	Changes []Change
	steps   []step
}

type step struct {
	want jetstream.StreamConfig
	have *jetstream.StreamConfig // nil: create
	todo []Change
}

// NewPlan compares the broker with spec and changes nothing. Limits that an
// operator set on other fields than ours (placement, metadata) are left alone.
func NewPlan(ctx context.Context, js jetstream.JetStream, spec Spec) (*Plan, error) {
	p := &Plan{}
	for _, want := range Streams(spec) {
		s, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			p.add(step{want: want, todo: []Change{{Stream: want.Name, Kind: Create}}})
			continue
		}
		if err != nil {
			return nil, explain(fmt.Errorf("look at stream %s: %w", want.Name, err))
		}
		info := s.CachedInfo()
		if todo := compare(info.Config, want, info.State); len(todo) > 0 {
			p.add(step{want: want, have: &info.Config, todo: todo})
		}
	}
	return p, nil
}

func (p *Plan) add(s step) {
	p.steps = append(p.steps, s)
	p.Changes = append(p.Changes, s.todo...)
}

// Kinds counts the changes of one kind.
func (p *Plan) Kinds(kind ChangeKind) int {
	n := 0
	for _, c := range p.Changes {
		if c.Kind == kind {
			n++
		}
	}
	return n
}

// Apply creates what is missing and updates what differs. A stream with a
// Refused change is left as it is, and so is one with a Lossy change unless
// lossy is true; only other shards do not hold back the rest. What was left is
// returned.
func (p *Plan) Apply(
	ctx context.Context, js jetstream.JetStream, lossy bool,
) (left []Change, err error) {
	for _, s := range p.steps {
		keep := slices.DeleteFunc(slices.Clone(s.todo), func(c Change) bool {
			return c.Kind == Create || c.Kind == Update || c.Kind == Lossy && lossy
		})
		left = append(left, keep...)
		onlyShards := len(keep) == 1 && keep[0].Field == liveShards
		if len(keep) > 0 && !onlyShards || len(keep) == len(s.todo) {
			continue
		}
		if s.have == nil {
			// Another worker that starts at the same moment may be first: creating the same again
			// is no error.
			if _, err := js.CreateStream(ctx, s.want); err != nil &&
				!errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				return left, explain(fmt.Errorf("create stream %s: %w", s.want.Name, err))
			}
			continue
		}
		next := merge(*s.have, s.want)
		if onlyShards {
			next.SubjectTransform = s.have.SubjectTransform
		}
		if _, err := js.UpdateStream(ctx, next); err != nil {
			return left, explain(fmt.Errorf("update stream %s: %w", s.want.Name, err))
		}
	}
	return left, nil
}

// ErrNoRoom says that the broker cannot promise a queue the bytes that it may
// take. Only an operator can change that.
var ErrNoRoom = errors.New("the broker has not room enough to promise every queue what it may " +
	"take: lower queue.bytes, or raise max_file_store in the jetstream block of nats-server")

// noRoom recognises a broker alone (10047), and a cluster of which no node has
// the room (10005).
func noRoom(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) &&
		(e.ErrorCode == 10047 ||
			e.ErrorCode == 10005 && strings.Contains(e.Description, "insufficient storage"))
}

// explain puts the one sentence an operator needs before the usual suspects.
func explain(err error) error {
	switch {
	case noRoom(err):
		return fmt.Errorf("%w: %w", ErrNoRoom, err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled),
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("the broker runs without JetStream: start nats-server with -js or a "+
			"jetstream block: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the broker did not answer in time (no quorum, or no permission for "+
			"the JetStream API): %w", err)
	}
	return err
}

// field is one setting of a stream that kefu cares about.
type field struct {
	name string
	get  func(jetstream.StreamConfig) string
	set  func(dst *jetstream.StreamConfig, want jetstream.StreamConfig)
	kind func(have, want jetstream.StreamConfig, state jetstream.StreamState) ChangeKind
}

func always(k ChangeKind) func(a, b jetstream.StreamConfig, s jetstream.StreamState) ChangeKind {
	return func(jetstream.StreamConfig, jetstream.StreamConfig, jetstream.StreamState) ChangeKind {
		return k
	}
}

// setting is a field of a plain type that can be changed in place.
func setting[T any](name string, at func(*jetstream.StreamConfig) *T) field {
	return field{
		name: name,
		get:  func(c jetstream.StreamConfig) string { return fmt.Sprint(*at(&c)) },
		set:  func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { *at(d) = *at(&w) },
		kind: always(Update),
	}
}

// ability is something that a stream may be able to do besides what is asked
// of it: that hurts nobody, and most of them cannot be taken away.
func ability(name string, at func(*jetstream.StreamConfig) *bool) field {
	return field{
		name: name,
		get:  func(c jetstream.StreamConfig) string { return fmt.Sprint(*at(&c)) },
		set: func(d *jetstream.StreamConfig, w jetstream.StreamConfig) {
			*at(d) = *at(d) || *at(&w)
		},
		kind: func(have, _ jetstream.StreamConfig, _ jetstream.StreamState) ChangeKind {
			if *at(&have) {
				return noChange
			}
			return Update
		},
	}
}

// permanentFlag is something that a stream forbids for good.
func permanentFlag(name string, at func(*jetstream.StreamConfig) *bool) field {
	f := setting(name, at)
	f.kind = func(have, _ jetstream.StreamConfig, _ jetstream.StreamState) ChangeKind {
		if *at(&have) {
			return Refused
		}
		return Update
	}
	return f
}

// limit is a number of which zero and less mean none.
func limit[T int | int32 | int64](
	name string, at func(*jetstream.StreamConfig) *T, stored func(jetstream.StreamState) uint64,
) field {
	f := setting(name, at)
	f.get = func(c jetstream.StreamConfig) string {
		if *at(&c) <= 0 {
			return "unlimited"
		}
		return fmt.Sprint(*at(&c))
	}
	f.kind = func(_, want jetstream.StreamConfig, state jetstream.StreamState) ChangeKind {
		return lossyIf(*at(&want) > 0 && stored(state) > uint64(*at(&want)))
	}
	return f
}

// lettersApart leaves a limit of KEFU_DEAD to the operator: how large it may be
// depends on the disk, and as it discards what is new, a limit loses nothing.
func lettersApart(f field) field {
	set, kind := f.set, f.kind
	f.set = func(d *jetstream.StreamConfig, w jetstream.StreamConfig) {
		if w.Name != schema.StreamDead {
			set(d, w)
		}
	}
	f.kind = func(have, want jetstream.StreamConfig, state jetstream.StreamState) ChangeKind {
		if want.Name == schema.StreamDead {
			return noChange
		}
		return kind(have, want, state)
	}
	return f
}

// nothing is for limits that concern only what is yet to come.
func nothing(jetstream.StreamState) uint64 { return 0 }

// fields is the whole of what is compared: a setting that is not here is the operator's.
var fields = []field{
	{"subjects", func(c jetstream.StreamConfig) string {
		s := slices.Clone(c.Subjects)
		slices.Sort(s)
		return strings.Join(s, " ")
	}, func(d *jetstream.StreamConfig, w jetstream.StreamConfig) {
		d.Subjects = w.Subjects
	}, always(Update)},
	{"retention", func(c jetstream.StreamConfig) string { return c.Retention.String() },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.Retention = w.Retention },
		always(Refused)},
	{"storage", func(c jetstream.StreamConfig) string { return c.Storage.String() },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.Storage = w.Storage },
		always(Refused)},
	setting("discard",
		func(c *jetstream.StreamConfig) *jetstream.DiscardPolicy { return &c.Discard }),
	// What is queued keeps its old shard: a recipient would be in two at once. And
	// a worker that runs reads the shards that it found when it took the app up:
	// what falls into another would be stranded, however empty the queue is now.
	{liveShards, shardsOf,
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) {
			d.SubjectTransform = w.SubjectTransform
		}, always(Refused)},
	lettersApart(limit("max_msgs", func(c *jetstream.StreamConfig) *int64 { return &c.MaxMsgs },
		func(s jetstream.StreamState) uint64 { return s.Msgs })),
	lettersApart(limit("max_bytes", func(c *jetstream.StreamConfig) *int64 { return &c.MaxBytes },
		func(s jetstream.StreamState) uint64 { return s.Bytes })),
	limit("max_msgs_per_subject",
		func(c *jetstream.StreamConfig) *int64 { return &c.MaxMsgsPerSubject }, nothing),
	{"max_age", func(c jetstream.StreamConfig) string { return c.MaxAge.String() },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.MaxAge = w.MaxAge },
		func(h, w jetstream.StreamConfig, s jetstream.StreamState) ChangeKind {
			return lossyIf(w.MaxAge > 0 && (h.MaxAge == 0 || w.MaxAge < h.MaxAge) && s.Msgs > 0)
		}},
	limit("max_msg_size", func(c *jetstream.StreamConfig) *int32 { return &c.MaxMsgSize }, nothing),
	setting("duplicates", func(c *jetstream.StreamConfig) *time.Duration { return &c.Duplicates }),
	setting("replicas", func(c *jetstream.StreamConfig) *int { return &c.Replicas }),
	// else the outbox waits for ever
	setting("no_ack", func(c *jetstream.StreamConfig) *bool { return &c.NoAck }),
	ability("allow_direct", func(c *jetstream.StreamConfig) *bool { return &c.AllowDirect }),
	ability("allow_atomic", func(c *jetstream.StreamConfig) *bool { return &c.AllowAtomicPublish }),
	ability("allow_msg_schedules",
		func(c *jetstream.StreamConfig) *bool { return &c.AllowMsgSchedules }),
	ability("allow_msg_ttl", func(c *jetstream.StreamConfig) *bool { return &c.AllowMsgTTL }),
	ability("allow_rollup", func(c *jetstream.StreamConfig) *bool { return &c.AllowRollup }),
	setting("subject_delete_marker_ttl",
		func(c *jetstream.StreamConfig) *time.Duration { return &c.SubjectDeleteMarkerTTL }),
	permanentFlag("deny_delete", func(c *jetstream.StreamConfig) *bool { return &c.DenyDelete }),
	permanentFlag("deny_purge", func(c *jetstream.StreamConfig) *bool { return &c.DenyPurge }),
}

const liveShards = "live_shards"

// whyRefused says what an operator can do about a change that is refused.
func whyRefused(stream, field string) string {
	if field != liveShards {
		return ""
	}
	return "the shards of a queue that exists stay as they are; to change them, stop the " +
		"workers, delete the stream " + stream +
		" once it is empty, and run kefu setup"
}

// shardsOf is the number of live shards, or the transform itself when it is not
// the one that makes them.
func shardsOf(c jetstream.StreamConfig) string {
	n := Shards(c)
	if t := c.SubjectTransform; t != nil {
		appID := strings.TrimPrefix(c.Name, strings.TrimSuffix(schema.SendStream("x"), "x"))
		if ours := shardTransform(appID, n); *t != *ours {
			return t.Source + " → " + t.Destination
		}
	}
	return fmt.Sprint(n)
}

func lossyIf(lossy bool) ChangeKind {
	if lossy {
		return Lossy
	}
	return Update
}

func compare(have, want jetstream.StreamConfig, state jetstream.StreamState) []Change {
	var out []Change
	for _, f := range fields {
		h, w := f.get(have), f.get(want)
		if h == w {
			continue
		}
		if kind := f.kind(have, want, state); kind != noChange {
			c := Change{Stream: want.Name, Field: f.name, Have: h, Want: w, Kind: kind}
			if kind == Refused {
				c.Why = whyRefused(c.Stream, c.Field)
			}
			out = append(out, c)
		}
	}
	return out
}

// merge lays our settings over what is there, so that an operator's placement
// or metadata survive.
func merge(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	out := have
	out.Metadata = maps.Clone(have.Metadata)
	for _, f := range fields {
		f.set(&out, want)
	}
	return out
}
