package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
)

// stateStore reads and writes keys of KEFU_STATE.
type stateStore interface {
	LastState(ctx context.Context, key string) (broker.StateEntry, error)
	Swap(ctx context.Context, m *nats.Msg, last uint64) (seq uint64, err error)
}

// revise changes the JSON value of a key of KEFU_STATE by compare-and-set. change gets the zero
// value where there is none, and returns false to leave what stands. The error is
// broker.ErrOvertaken if somebody else wrote in between; then nothing was changed:
//
//	A reads 2 at seq 7     B reads 2 at seq 7
//	A writes 3 over 7      B writes 3 over 7: overtaken, and may revise again
//
// After another error the value may have been written all the same.
func revise[T any](
	ctx context.Context, s stateStore, key string, keep time.Duration,
	change func(old T) (revised T, ok bool),
) (revised T, ok bool, err error) {
	var old T
	e, err := s.LastState(ctx, key)
	if err == nil && !e.Deleted {
		err = json.Unmarshal(e.Value, &old)
	}
	if err != nil && !errors.Is(err, broker.ErrNoMessage) {
		return old, false, fmt.Errorf("%s: %w", key, err)
	}
	if revised, ok = change(old); !ok {
		return revised, false, nil
	}
	body, err := json.Marshal(revised)
	if err != nil {
		return old, false, fmt.Errorf("%s: %w", key, err)
	}
	if _, err := s.Swap(ctx, broker.PutState(key, body, keep), e.Seq); err != nil {
		return old, false, fmt.Errorf("%s: %w", key, err)
	}
	return revised, true, nil
}

// timed is a store whose answers are timed, and waited for no longer than they are worth.
type timed struct {
	stateStore
	trips *trips
}

func (t timed) LastState(ctx context.Context, key string) (e broker.StateEntry, err error) {
	err = t.trips.ask(ctx, func(ctx context.Context) error {
		e, err = t.stateStore.LastState(ctx, key)
		return err
	})
	return e, err
}

func (t timed) Swap(ctx context.Context, m *nats.Msg, last uint64) (seq uint64, err error) {
	err = t.trips.ask(ctx, func(ctx context.Context) error {
		seq, err = t.stateStore.Swap(ctx, m, last)
		return err
	})
	return seq, err
}
