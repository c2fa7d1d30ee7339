package dead

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/schema"
)

// Change says who changed the packet of a letter.
type Change struct {
	Job string    `json:"job"` // the replay that sent it
	By  string    `json:"by"`
	At  time.Time `json:"at"`
}

func (c Change) words() string {
	return cli.Clean(fmt.Sprintf(
		"Replay %s of %s has changed and sent this letter %s; it is shown as it was before.",
		c.Job, c.By, cli.Moment(c.At)))
}

// originals are the letters of an id as they were before replays sent them with changes. They are
// looked for in the apps of the id's letters in the box, and in all apps when there are none.
func (d *show) originals(
	ctx context.Context, conn *broker.Conn, boxed []deadletter.Item, id string,
) ([]Letter, error) {
	var appIDs []string
	for _, item := range boxed {
		if !slices.Contains(appIDs, item.Letter.AppID) {
			appIDs = append(appIDs, item.Letter.AppID)
		}
	}
	if len(boxed) == 0 {
		known, err := d.broker.Apps(ctx, conn)
		if err != nil {
			return nil, err
		}
		for _, app := range known {
			appIDs = append(appIDs, app.AppID)
		}
	}
	var found []Letter
	for _, appID := range appIDs {
		kept, err := replay.Originals(ctx, conn, appID, id)
		if err != nil {
			return nil, err
		}
		for _, o := range kept {
			if inBox(boxed, o.Letter) {
				continue
			}
			l := newLetter(deadletter.Item{Letter: o.Letter}, mask.Mask{Reveal: d.reveal}, false)
			l.Commands = []string{"kefu find " + quoted(id), "kefu dead replays show " + o.Job}
			l.Changed = &Change{o.Job, o.By, o.At}
			found = append(found, l)
		}
	}
	return found, nil
}

// inBox tells whether a letter is still, or again, in the box: a replay keeps an original before it
// sends anything, and may have ended in between.
func inBox(boxed []deadletter.Item, l schema.Letter) bool {
	return slices.ContainsFunc(boxed, func(item deadletter.Item) bool {
		return item.Letter.AppID == l.AppID && item.Letter.Generation == l.Generation
	})
}

// place is where a letter's message lay, and where the letter lies, unless it has left the box.
func place(l Letter) string {
	at := fmt.Sprintf("%d in its queue", l.Sequence)
	if l.Seq > 0 {
		at += fmt.Sprintf(", %d in %s", l.Seq, schema.StreamDead)
	}
	return at
}
