package ledger

// What a campaign counts follows from the log as the rulings do: an id counts as
// the end of its latest generation that has one. So an end counts once, whatever
// is handed out or written again, and the end of a replay takes the place of the
// end before it.

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
		if end = deadFor(m.Reason); end == 0 {
			return 0 // of an earlier version of kefu
		}
	}
	if again {
		end |= duplicate
	}
	return end
}
