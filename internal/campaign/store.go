package campaign

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/wire"
)

// headerCampaign names the campaign of a chunk, for people who look at the stream.
const headerCampaign = "X-Kefu-Campaign"

// chunksAhead is how many chunks of an upload may wait for the broker's answer.
const chunksAhead = 8

// Upload stores the rows of a file at the broker, in numbered chunks. Nothing of them is sent
// before a campaign is ordered that names the upload. It is not safe for concurrent use.
type Upload struct {
	ID string // a subject token, and the id of the job that will feed it

	conn     *broker.Conn
	appID    string
	campaign string
	chunk    *chunkWriter
	slots    chan struct{}

	chunks int
	rows   int
	bytes  int64

	mu     sync.Mutex
	failed error
}

// NewUpload begins an upload for a campaign of an app. One that is given up is to be abandoned.
func NewUpload(conn *broker.Conn, appID, campaign string) (*Upload, error) {
	if err := checkName(appID, campaign); err != nil {
		return nil, err
	}
	chunk, err := newChunkWriter()
	return &Upload{
		ID: job.NewID(), conn: conn, appID: appID, campaign: campaign, chunk: chunk,
		slots: make(chan struct{}, chunksAhead),
	}, err
}

// Add adds a row. line is where it begins in the file. It waits while the broker is behind.
func (u *Upload) Add(ctx context.Context, line int, openID string, packet []byte) error {
	u.rows++
	if u.chunk.add(chunkRow{Line: line, OpenID: openID, Packet: packet}) {
		return u.flush(ctx)
	}
	return nil
}

// End stores what is left and waits until the broker has all of it.
func (u *Upload) End(ctx context.Context) error {
	if u.chunk.rows > 0 {
		if err := u.flush(ctx); err != nil {
			return err
		}
	}
	for range chunksAhead {
		if err := u.slot(ctx); err != nil {
			return err
		}
	}
	return u.failure()
}

// Rows is how many rows were added.
func (u *Upload) Rows() int { return u.rows }

// Chunks is how many chunks they fill.
func (u *Upload) Chunks() int { return u.chunks }

// Bytes is how much is stored of them.
func (u *Upload) Bytes() int64 { return u.bytes }

// Abandon removes what was stored.
func (u *Upload) Abandon(ctx context.Context) error {
	return purgeUpload(ctx, u.conn, u.appID, u.ID)
}

func (u *Upload) flush(ctx context.Context) error {
	if err := u.slot(ctx); err != nil {
		return err
	}
	u.chunks++
	m := nats.NewMsg(wire.ChunkSubject(u.appID, u.ID, u.chunks))
	m.Data = u.chunk.end()
	m.Header.Set(headerCampaign, u.campaign)
	u.bytes += int64(len(m.Data))
	u.conn.Outbox.Publish(m, func(_ broker.Ack, err error) {
		if err != nil {
			u.fail(err)
		}
		<-u.slots
	})
	return u.failure()
}

// slot waits until another chunk may be on its way.
func (u *Upload) slot(ctx context.Context) error {
	select {
	case u.slots <- struct{}{}:
		return u.failure()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (u *Upload) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed == nil {
		u.failed = fmt.Errorf("store the rows of campaign %s: %w", u.campaign, err)
	}
}

func (u *Upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed
}

// purgeUpload removes the chunks of an upload.
func purgeUpload(ctx context.Context, conn *broker.Conn, appID, upload string) error {
	stream, err := conn.JS.Stream(ctx, wire.StreamCampaign)
	if err == nil {
		err = stream.Purge(ctx,
			jetstream.WithPurgeSubject(wire.ChunkFilter(appID, upload, wire.AnyToken)))
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the rows of an upload: %w", err)
	}
	return nil
}

// ErrNoRows says that the rows of a campaign are not stored any more.
var ErrNoRows = errors.New("the rows of the campaign are not stored any more")

// readRows reads a chunk of an upload.
func readRows(
	ctx context.Context, conn *broker.Conn, appID, upload string, chunk int,
) ([]chunkRow, error) {
	s, err := conn.Last(ctx, wire.StreamCampaign, wire.ChunkSubject(appID, upload, chunk))
	if errors.Is(err, broker.ErrNoMessage) {
		return nil, ErrNoRows
	}
	if err != nil {
		return nil, err
	}
	rows, err := readChunk(s.Data)
	if err != nil {
		return nil, fmt.Errorf("chunk %d of the campaign's rows: %w", chunk, err)
	}
	return rows, nil
}
