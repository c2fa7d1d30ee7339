package job

import (
	"context"
	"errors"
	"testing"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

// tidied is a kind of job that leaves something behind.
type tidied struct {
	items
	called chan struct{}
}

func (w tidied) Tidy(context.Context) error {
	close(w.called) // a second call would panic
	return errors.New("it is logged, and nothing else")
}

func TestAWorkerThatStartsHasWhatIsDueRemoved(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	called := make(chan struct{})
	b.works = func(w items) Work { return tidied{w, called} }
	b.worker("one")
	brokertest.Await(t, called, "a call of Tidy")
	id := b.order(1, 3, 0, "wx1")
	b.until(id, ended)
}
