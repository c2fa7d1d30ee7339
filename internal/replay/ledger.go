package replay

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
)

// Life is what the ledger remembers of an intent's id.
type Life struct {
	Generation int
	Ended      bool // sent, dead or cancelled; false: under way
	Same       bool // its packet is the one that was asked about
}

// Ledger answers what is remembered of intents. Want is called for each before Read, which may be
// called again for what is new.
type Ledger interface {
	Want(appID, id string, published time.Time)
	Read(ctx context.Context) error
	Life(appID, id string, packet []byte) (Life, bool)
}

// StoredLedger is the ledger as a command reads it.
func StoredLedger(conn *broker.Conn) Ledger { return stored{ledger.NewLookup(conn)} }

type stored struct{ *ledger.Lookup }

// Life tells what is remembered of an id; nothing while its message has only been handed out.
func (s stored) Life(appID, id string, packet []byte) (Life, bool) {
	e, ok := s.Get(appID, id)
	return lifeOf(e, ok, packet)
}

// followed is the ledger of a worker, which follows all of it.
type followed struct{ ledger *ledger.Ledger }

func (followed) Want(string, string, time.Time) {}

func (f followed) Read(ctx context.Context) error { return f.ledger.CatchUp(ctx) }

func (f followed) Life(appID, id string, packet []byte) (Life, bool) {
	e, ok := f.ledger.Get(appID, id)
	return lifeOf(e, ok, packet)
}

func lifeOf(e ledger.Entry, ok bool, packet []byte) (Life, bool) {
	if !ok || e.Kind == 0 {
		return Life{}, false
	}
	_, dying := e.Kind.Dying()
	return Life{
		Generation: max(int(e.Generation), 1), Ended: e.Kind.Terminal() || dying,
		Same: e.Body == ledger.BodyOf(packet),
	}, true
}

// ledgerOf is a worker's ledger as a replay sees it; nil when there is none.
func ledgerOf(l *ledger.Ledger) Ledger {
	if l == nil {
		return nil
	}
	return followed{l}
}
