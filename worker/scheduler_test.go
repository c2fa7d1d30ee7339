package worker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// model is a queue of three lanes, two live shards and bulk, and an app that carries
// out what its scheduler commands. Chance decides what happens when.
type model struct {
	t     *testing.T
	r     *rand.Rand
	s     *scheduler
	now   time.Time
	shut  bool
	calm  bool // nothing is held or asked back any more
	lanes []*modelLane

	slots  []*delivery // in a slot
	timers []*delivery // waiting
	ends   []*delivery // settling
	paused []func()    // pauses that are not over
	trace  []string

	cancelled map[string]bool // by the key of bulk
}

type modelLane struct {
	line    *line
	back    []uint64 // given back: they come again before the others
	todo    []uint64 // in the order in which the broker hands them out
	out     []uint64 // handed out, neither settled nor given back
	paused  bool
	puller  int // each claim has its own
	remake  bool
	settled []uint64
}

const (
	modelEach       = 12 // messages of a lane
	modelRecipients = 3  // of a live one
)

// whose is the recipient of a message.
func whose(seq uint64) string { return fmt.Sprint("user-", seq/100, "-", seq%modelRecipients) }

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, r: rand.New(rand.NewPCG(seed, 1)), s: newScheduler(2), now: lifeNoon,
		cancelled: make(map[string]bool)}
	m.s.cancelled = func(campaign string) bool { return m.cancelled[campaign] }
	for i, l := range m.s.lines {
		lane := &modelLane{line: l}
		for n := range uint64(modelEach) {
			lane.todo = append(lane.todo, uint64(100*(i+1))+n)
		}
		m.lanes = append(m.lanes, lane)
		m.s.beginReading(l)
	}
	return m
}

func (m *model) log(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func (m *model) promise(ok bool, what string) {
	m.t.Helper()
	if !ok {
		require.FailNow(m.t, what, "%v", m.trace)
	}
}

// pick takes one of some deliveries out of them.
func (m *model) pick(from *[]*delivery) *delivery {
	if len(*from) == 0 {
		return nil
	}
	i := m.r.IntN(len(*from))
	d := (*from)[i]
	*from = slices.Delete(*from, i, i+1)
	return d
}

// handOut is the broker: it hands out the next message of a lane.
func (m *model) handOut(l *modelLane) {
	from := &l.back
	if len(l.back) == 0 {
		from = &l.todo
	}
	if l.paused || !l.line.claimed || l.remake || len(*from) == 0 {
		return
	}
	seq := (*from)[0]
	*from = (*from)[1:]
	switch {
	case m.s.phase != closed:
		l.out = append(l.out, seq)
	case l.line.kind == schema.LaneLive && !m.s.stopping: // as app.arrive
		l.out, l.remake = append(l.out, seq), true
		return
	default:
		l.back = append(l.back, seq)
		return
	}
	d := &delivery{scheduled: scheduled{line: l.line}, life: life{seq: seq}}
	d.subject = wire.Subject{Subject: schema.Subject{Lane: l.line.kind, Key: whose(seq)}}
	m.log("in %d", seq)
	m.s.admit(d)
}

// comeAgain is a consumer made anew: all that is not settled, in order.
func (l *modelLane) comeAgain(inHand map[uint64]*delivery) {
	l.remake = false
	for _, seq := range l.out {
		if inHand[seq] == nil {
			l.todo = append(l.todo, seq)
		}
	}
	l.out = slices.DeleteFunc(l.out, func(seq uint64) bool { return inHand[seq] == nil })
	l.todo, l.back = append(l.todo, l.back...), nil
	slices.Sort(l.todo)
}

// schedule is what the app does after each change.
func (m *model) schedule() {
	m.s.turnPhase(m.shut || m.s.stopping)
	m.carryOut()
	for m.s.phase == open && m.s.running < 3 {
		l, d, why := m.s.next(conditions{now: m.now,
			startable: func(*line) bool { return true }, forBulk: 2})
		m.carryOut()
		if l == nil || why == toSend && m.r.IntN(4) == 0 { // no permission
			return
		}
		if d == nil {
			d = l.ready.first()
		}
		m.begin(d, why)
	}
}

func (m *model) begin(d *delivery, why purpose) {
	m.log("begin %d", d.seq)
	m.promise((why == toCancel) == m.s.isCancelled(d), "sent though its campaign is cancelled")
	if d.live() {
		for _, other := range slices.Concat(m.slots, m.timers) {
			m.promise(other.seq == d.seq || whose(other.seq) != whose(d.seq),
				"two of one recipient at once")
		}
		lane := m.lanes[d.line.index]
		for _, seq := range slices.Concat(lane.back, lane.todo, lane.out) {
			m.promise(seq >= d.seq || whose(seq) != whose(d.seq) || m.settles(seq),
				"a recipient's order is broken")
		}
	}
	m.s.begin(d, gate.Permission{}, why, m.now)
	m.slots = append(m.slots, d)
}

func (m *model) settles(seq uint64) bool {
	return slices.ContainsFunc(m.ends, func(d *delivery) bool { return d.seq == seq })
}

func (m *model) carryOut() {
	commands := slices.Clone(m.s.commands)
	m.s.commands = m.s.commands[:0]
	for _, c := range commands {
		switch c.kind {
		case commandPause, commandPauseOne:
			lane := m.lanes[c.line.index]
			all, puller := c.kind == commandPause, lane.puller
			m.paused = append(m.paused, func() { // until then it delivers
				lane.paused = lane.paused || lane.puller == puller
				if all {
					m.s.pausing--
				} else {
					c.line.pausing--
				}
			})
		case commandResume:
			lane := m.lanes[c.line.index]
			if lane.remake {
				lane.comeAgain(m.s.inHand)
			}
			lane.paused = false
		case commandRemake:
			m.lanes[c.line.index].remake = true
		case commandNak:
			lane := m.lanes[c.delivery.line.index]
			m.log("back %d", c.delivery.seq)
			lane.out = slices.DeleteFunc(lane.out,
				func(seq uint64) bool { return seq == c.delivery.seq })
			lane.back = append(lane.back, c.delivery.seq)
		case commandWait:
			m.timers = append(m.timers, c.delivery)
		case commandDrop:
			m.timers = slices.DeleteFunc(m.timers,
				func(d *delivery) bool { return d == c.delivery })
		case commandRelease: // another worker has it for a moment, then this one again
			m.log("released %d", c.line.index)
			lane := m.lanes[c.line.index]
			m.promise(c.line.inHand == 0, "a shard is let go of with something in hand")
			lane.comeAgain(m.s.inHand)
			lane.paused, lane.puller = m.s.phase != open, lane.puller+1
			m.s.beginReading(c.line)
		}
	}
}

// step lets something happen.
func (m *model) step() {
	switch m.r.IntN(10) {
	case 0, 1, 2:
		lane := m.lanes[m.r.IntN(len(m.lanes))]
		for range m.r.IntN(6) {
			m.handOut(lane)
		}
	case 3, 4:
		d := m.pick(&m.slots)
		if d == nil {
			return
		}
		next := afterwards{place: settling}
		switch {
		case m.shut || m.s.stopping:
			next = afterwards{place: place(m.r.IntN(2)) * settling} // returned or settling
		case m.r.IntN(3) == 0:
			next = afterwards{place: waiting, blocksRecipient: true}
		}
		m.log("end %d %d", d.seq, next.place)
		m.s.finish(d, next, m.now)
		if d.place == settling {
			m.ends = append(m.ends, d)
		}
		m.carryOut()
		m.schedule()
		m.s.requeue(d)
	case 5:
		if d := m.pick(&m.timers); d != nil {
			m.log("again %d", d.seq)
			m.s.retryNow(d)
		}
	case 6:
		if d := m.pick(&m.ends); d != nil {
			m.log("settled %d", d.seq)
			lane := m.lanes[d.line.index]
			lane.out = slices.DeleteFunc(lane.out, func(seq uint64) bool { return seq == d.seq })
			lane.settled = append(lane.settled, d.seq)
			m.s.drop(d)
		}
	case 7:
		if len(m.paused) > 0 {
			m.paused[0]()
			m.paused = m.paused[1:]
		}
	case 8:
		if m.r.IntN(4) == 0 && !m.calm {
			m.shut = !m.shut
			m.log("shut %v", m.shut)
		}
		if m.r.IntN(16) == 0 {
			campaign := whose(300 + uint64(m.r.IntN(modelRecipients)))
			m.log("cancel %s", campaign)
			m.cancelled[campaign] = true
			for _, waited := range m.s.recall() {
				m.timers = slices.DeleteFunc(m.timers,
					func(d *delivery) bool { return d == waited })
			}
		}
	case 9:
		l := m.lanes[m.r.IntN(2)]
		// Another worker has it, and then this one again.
		if m.r.IntN(16) == 0 && !m.calm && l.line.claimed {
			m.log("lost %d", l.line.index)
			m.s.loseShard(l.line)
			m.carryOut()
			l.comeAgain(m.s.inHand)
			l.paused, l.puller = m.s.phase != open, l.puller+1
			m.s.beginReading(l.line)
			return
		}
		if m.r.IntN(8) == 0 && !m.calm && l.line.claimed {
			m.log("leave %d", l.line.index)
			m.s.beginDraining(l.line)
		}
	}
	m.schedule()
}

func TestTheSchedulerKeepsOrderAndLosesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		m := newModel(t, seed)
		for range 400 {
			m.step()
		}
		m.shut, m.calm = false, true
		for range 2000 { // everything ends
			m.step()
		}
		for _, l := range m.lanes {
			m.promise(len(l.settled) == modelEach, fmt.Sprint("settled of a lane: ", l.settled))
		}
		m.promise(len(m.s.inHand) == 0 && m.s.running == 0, "something is left in hand")
	}
}

func TestAStoppedSchedulerGivesBackWhatIsLeft(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		m := newModel(t, seed)
		for range 100 {
			m.step()
		}
		m.s.stopping, m.calm = true, true
		for range 2000 {
			m.step()
		}
		m.promise(m.s.phase == closed && len(m.s.inHand) == 0, "something is left in hand")
		for _, l := range m.lanes {
			m.promise(len(l.back)+len(l.todo)+len(l.out)+len(l.settled) == modelEach,
				"a message is lost")
			m.promise(l.line.kind == schema.LaneBulk || slices.IsSorted(l.back),
				fmt.Sprint("given back out of order: ", l.back))
		}
	}
}
