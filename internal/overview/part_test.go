package overview

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestManyLooksReadAPartOnce(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}, 10), make(chan int)
	p := newPart(time.Hour, func(context.Context) (int, error) {
		asked <- struct{}{}
		return <-answer, nil
	})
	keep, stop := context.WithCancel(t.Context())
	var group, looks sync.WaitGroup
	require.True(t, p.look(keep, &group).at.IsZero(), "a look waits for nothing")
	for range 20 {
		looks.Go(func() {
			r, err := p.fresh(t.Context(), keep, &group)
			require.NoError(t, err)
			require.Equal(t, 7, r.value)
		})
	}
	<-asked
	answer <- 7
	looks.Wait()
	require.Equal(t, 7, p.look(keep, &group).value)
	stop()
	group.Wait()
	require.Empty(t, asked)
	_, err := newPart(time.Hour, p.read).fresh(t.Context(), keep, &group)
	require.ErrorIs(t, err, context.Canceled, "of a keeper that is closed")
}

func TestAFailureKeepsWhatWasReadBefore(t *testing.T) {
	t.Parallel()
	fails := errors.New("away")
	var err error
	p := newPart(0, func(context.Context) (int, error) { return 7, err })
	p.once(t.Context())
	err = fails
	p.once(t.Context())
	require.Equal(t, 7, p.last.value)
	require.False(t, p.last.at.IsZero())
	require.ErrorIs(t, p.last.err, fails)
}

func TestAPartThatCannotBeReadIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	p := newPart(time.Hour, func(context.Context) (int, error) { return 0, errors.New("away") })
	keep, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	r, err := p.fresh(t.Context(), keep, &group)
	require.NoError(t, err)
	require.EqualError(t, r.err, "away")
	stop()
	group.Wait()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	hangs := newPart(time.Hour, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	keep, stop = context.WithCancel(t.Context())
	_, err = hangs.fresh(ended, keep, &group)
	require.ErrorIs(t, err, context.Canceled, "whoever looks has gone")
	stop()
	group.Wait()
}

func TestNobodyLooksAndNothingIsRead(t *testing.T) {
	t.Parallel()
	read := 0
	p := newPart(0, func(context.Context) (int, error) { read++; return 0, nil })
	p.looked, p.running = time.Now().Add(-2*lookedFor), true
	p.keep(t.Context())
	require.Equal(t, 1, read)
	require.False(t, p.running)
}

func TestWhatIsDearIsReadSeldom(t *testing.T) {
	t.Parallel()
	at := func(age, took time.Duration) bool {
		return reading[int]{at: time.Now().Add(-age), took: took}.stale(2 * time.Second)
	}
	require.False(t, at(4*time.Second, 0))
	require.True(t, at(10*time.Second, 0))
	require.False(t, at(5*time.Minute, 8*time.Second), "it is read every 160 s")
	require.True(t, reading[int]{}.stale(time.Hour))
}
