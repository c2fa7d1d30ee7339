package campaign

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/wire"
)

const (
	// keepUpload is for how long the rows of a file are kept whose upload was not ended, or whose
	// campaign was not ordered.
	keepUpload = 24 * time.Hour

	// keepRows is for how long the rows of a campaign that has ended are kept, for a report.
	keepRows = 7 * 24 * time.Hour
)

// Tidy removes the rows that nobody needs any more: of campaigns that ended 7 days ago, and of
// uploads that were given up a day ago. Several may do so at the same time.
func Tidy(ctx context.Context, conn *broker.Conn, now time.Time) error {
	uploads, err := readUploads(ctx, conn)
	if err != nil {
		return err
	}
	var failed error
	for _, u := range uploads {
		s, err := u.standing(ctx, conn)
		if err == nil && s.due(now) {
			err = purgeUpload(ctx, conn, u.appID, u.id)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// Tidy implements [job.Tidier].
func (w *Work) Tidy(ctx context.Context) error { return Tidy(ctx, w.conn, time.Now()) }

// storedUpload is a file of which chunks are stored.
type storedUpload struct {
	appID, id string
	last      int // the number of its last chunk
}

// readUploads lists the files of which chunks are stored.
func readUploads(ctx context.Context, conn *broker.Conn) ([]storedUpload, error) {
	subjects, err := conn.Subjects(ctx, wire.StreamCampaign,
		wire.ChunkFilter(wire.AnyToken, wire.AnyToken, wire.AnyToken))
	if err != nil {
		return nil, err
	}
	at := make(map[string]int) // in the list, by app and id
	var uploads []storedUpload
	for subject := range subjects {
		appID, id, ok := wire.ParseChunkSubject(subject)
		n, err := strconv.Atoi(subject[strings.LastIndexByte(subject, '.')+1:])
		if !ok || err != nil {
			continue // kefu has not stored it
		}
		i, known := at[appID+"."+id]
		if !known {
			i = len(uploads)
			at[appID+"."+id] = i
			uploads = append(uploads, storedUpload{appID: appID, id: id})
		}
		uploads[i].last = max(uploads[i].last, n)
	}
	return uploads, nil
}

// standing is what decides whether an upload is needed.
type standing struct {
	job    *job.Job  // that feeds it; nil: there is none, or not any more
	record Record    // of its campaign, if that is fed from it; else zero
	stored time.Time // when its last chunk was; only known when there is no job
}

// standing reads what is known of an upload.
func (u storedUpload) standing(ctx context.Context, conn *broker.Conn) (standing, error) {
	j, err := job.Read(ctx, conn, u.id)
	switch {
	case err == nil:
		return standing{job: &j}, nil
	case !errors.Is(err, job.ErrNoJob):
		return standing{}, err
	}
	chunk, err := conn.Last(ctx, wire.StreamCampaign, wire.ChunkSubject(u.appID, u.id, u.last))
	if errors.Is(err, broker.ErrNoMessage) { // somebody else was quicker
		return standing{stored: time.Now()}, nil
	}
	if err != nil {
		return standing{}, err
	}
	s := standing{stored: chunk.Time}
	r, _, err := ReadRecord(ctx, conn, u.appID, chunk.Header.Get(headerCampaign))
	if errors.Is(err, ErrUnknown) {
		return s, nil
	}
	if r.Upload == u.id {
		s.record = r
	}
	return s, err
}

// due says whether an upload is needed no more.
func (s standing) due(now time.Time) bool {
	switch {
	case s.job != nil:
		return !s.job.Ended.IsZero() && now.Sub(s.job.Ended) >= keepRows
	case s.record.Ended != "":
		return now.Sub(s.record.FinishedAt) >= keepRows
	}
	return now.Sub(s.stored) >= keepUpload
}
