package ledger

// What a campaign counts follows from the log as the rulings do: an id counts as
// the end of its latest generation that has one. So an end counts once, whatever
// is handed out or written again, and the end of a replay takes the place of the
// end before it.
//
// A job counts the generations that it published, each as its own end. So it keeps
// an end that a later generation of the id takes from the campaign. There is one
// that it misses: a death whose mark comes after the next generation has begun, of
// an intent of which the ledger knew nothing by then.

// account is what the campaign of a mark counts the id as before it. What the
// ledger has forgotten, or never knew, counts as its writer says.
func account(e Entry, known bool, m Mark, c source) End {
	switch {
	case !known:
		return m.Before
	case c.elsewhere: // the other campaign keeps what it has
		return 0
	}
	return e.account()
}

// settle is what the campaign counts the id as after a mark that has made next of
// e.
func settle(e Entry, known bool, next Entry, m Mark, c source) End {
	before := account(e, known, m, c)
	anew := !known || next.Generation > e.Generation
	switch {
	case m.Kind.Terminal() && next.Kind == m.Kind:
		if !anew && e.Kind.Terminal() && m.Kind != Sent {
			return before // its letter and its receipt are those of the first end
		}
		return m.end(e, c)
	case anew && known && !e.Kind.Terminal() && m.Before != 0:
		return m.Before // it ended, as its letter says, and the mark of that never came
	}
	return before
}

// end is what a terminal mark ends its intent as, where e is remembered of it.
func (m Mark) end(e Entry, c source) (end End) {
	again := PossibleDuplicate(int(m.Unknown), m.Reason)
	switch m.Kind {
	case Sent:
		end = endSent
		// Its writer was taken for dead, as the worker's receipt says.
		again = again || e.Kind != 0 && e.Worker != c.worker
	case Cancelled:
		end = endCancelled
	default:
		if end = m.dead(); end == 0 {
			return 0 // of an earlier version of kefu
		}
	}
	if again {
		end |= duplicate
	}
	return end
}

// endOf is how a generation ended; zero while it has not.
func (e Entry) endOf(generation uint16) End {
	if e.Generation != generation || !e.Kind.Terminal() {
		return 0
	}
	return e.account()
}

// passed is how e's generation ended if a mark has made next of it, which is a later
// one, before there was a mark of that end; last is what the mark says of it. It is
// zero if that is not so. A mark of that end may come still, and changes nothing.
func (e Entry) passed(next Entry, last End) End {
	if next.Generation == e.Generation || e.Kind.Terminal() {
		return 0
	}
	return last
}
