package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
	jobKeys  = "job."
	deskKeys = "open."

	putTimeout = 5 * time.Second

	// keepEnded is for how long a job that has ended can still be shown: as long as a
	// letter that it left in the box.
	keepEnded = 30 * 24 * time.Hour
)

func orderKey(job string) string       { return jobKeys + job + ".order" }
func partKey(job, appID string) string { return jobKeys + job + ".part." + appID }
func deskKey(appID string) string      { return deskKeys + appID }

// ErrNoJob says that there is no job of an id, or not any more.
var ErrNoJob = errors.New("no such job")

// put writes a key over the revision that its writer knows (0: it has no value), and
// returns the new revision. It makes one attempt: after any error but
// broker.ErrOvertaken the value may or may not be stored.
func put(
	ctx context.Context, conn *broker.Conn, key string, value any, revision uint64, ttl time.Duration,
) (uint64, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	return conn.Swap(ctx, broker.PutJob(key, body, ttl), revision)
}

// get reads a key into value and returns its revision; 0 says that there is nothing
// under it.
func get(ctx context.Context, conn *broker.Conn, key string, value any) (uint64, error) {
	e, err := conn.LastJob(ctx, key)
	if errors.Is(err, broker.ErrNoMessage) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return e.Seq, decode(e, value)
}

func decode(e broker.StateEntry, value any) error {
	if e.Deleted {
		return nil
	}
	if err := json.Unmarshal(e.Value, value); err != nil {
		return fmt.Errorf("%s: %w", e.Key, err)
	}
	return nil
}

// Submit stores an order: the pool carries it out from now on. After an error it may
// be stored all the same.
func Submit(ctx context.Context, conn *broker.Conn, o Order) error {
	o.Want = WantRun
	if _, err := put(ctx, conn, orderKey(o.ID), o, 0, 0); err != nil {
		return fmt.Errorf("order a job: %w", err)
	}
	return nil
}

// Tell has a job obey a command, and returns the job as it stands then.
func Tell(ctx context.Context, conn *broker.Conn, id string, c Command) (Job, error) {
	for {
		j, err := Read(ctx, conn, id)
		if err != nil {
			return Job{}, err
		}
		o, err := j.obey(c)
		if err != nil {
			return j, err
		}
		if o.Want == j.Want && o.Resumes == j.Resumes {
			return j, nil
		}
		o.revision, err = put(ctx, conn, orderKey(id), o, j.revision, 0)
		if errors.Is(err, broker.ErrOvertaken) {
			continue // by another operator, or by the worker that ended it
		}
		j.Order = o
		return j, err
	}
}

// Read reads one job. One that is not there is ErrNoJob.
func Read(ctx context.Context, conn *broker.Conn, id string) (Job, error) {
	jobs, err := read(ctx, conn, jobKeys+id+".")
	if err != nil {
		return Job{}, err
	}
	if len(jobs) == 0 {
		return Job{}, fmt.Errorf("%w: %s", ErrNoJob, id)
	}
	return jobs[0], nil
}

// List reads all jobs of a kind, the one that was ordered last first.
func List(ctx context.Context, conn *broker.Conn, kind Kind) ([]Job, error) {
	jobs, err := read(ctx, conn, jobKeys)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(jobs, func(j Job) bool { return j.Kind != kind }), nil
}

func read(ctx context.Context, conn *broker.Conn, prefix string) ([]Job, error) {
	entries, err := conn.ReadJobs(ctx, prefix)
	if err != nil {
		return nil, err
	}
	b := newBoard()
	for _, e := range entries {
		if err := b.apply(e); err != nil {
			return nil, err
		}
	}
	return b.all(), nil
}

// OpenSteps are the steps that are under way, of all jobs and apps, and those of
// which a worker that was lost has begun.
func OpenSteps(ctx context.Context, conn *broker.Conn) ([]Step, error) {
	entries, err := conn.ReadJobs(ctx, deskKeys)
	if err != nil {
		return nil, err
	}
	var steps []Step
	for _, e := range entries {
		var d desk
		if err := decode(e, &d); err != nil {
			return nil, err
		}
		steps = slices.AppendSeq(steps, maps.Values(d.Steps))
	}
	return steps, nil
}
