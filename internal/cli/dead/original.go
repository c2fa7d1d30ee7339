package dead

import (
	"context"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/schema"
)

// Original is a letter as JSON that left the box when a replay sent it with changes, as it was
// before.
type Original struct {
	Letter
	Changed Change `json:"changed"`
}

// Change says who changed the packet of a letter.
type Change struct {
	Job string    `json:"job"` // the replay that sent it
	By  string    `json:"by"`
	At  time.Time `json:"at"`
}

// originals shows the letters of an id that is not in the box any more because a replay sent them
// with changes.
func (d *show) originals(
	ctx context.Context, conn *broker.Conn, box *deadletter.Box, id string,
) error {
	known, err := d.broker.Apps(ctx, conn)
	if err != nil {
		return err
	}
	var found []Original
	mask := cli.Mask{Reveal: d.reveal}
	for _, app := range known {
		kept, err := replay.Originals(ctx, conn, app.AppID, id)
		if err != nil {
			return err
		}
		for _, o := range kept {
			l := newLetter(deadletter.Item{Letter: o.Letter}, mask, false)
			l.Commands = []string{"kefu find " + quoted(id), "kefu dead replays show " + o.Job}
			found = append(found, Original{l, Change{o.Job, o.By, o.At}})
		}
	}
	if len(found) == 0 {
		return noMatch(ctx, box, deadletter.Filter{AppID: d.settings.AppID, IDs: []string{id}})
	}
	if d.reveal {
		viewer := deadletter.Viewer{Actor: d.settings.Actor(), Command: "dead show"}
		err := box.AuditReveal(ctx, viewer, d.settings.AppID, "id="+id, len(found))
		if err != nil {
			return err
		}
	}
	return cli.Each(d.streams, found, d.printOriginal)
}

func (d *show) printOriginal(o Original) error {
	err := d.streams.Printf("%s\n\n", cli.Clean(fmt.Sprintf(
		"Replay %s of %s has changed and sent this letter %s; it is shown as it was before.",
		o.Changed.Job, o.Changed.By, cli.Moment(o.Changed.At))))
	if err != nil {
		return err
	}
	return d.print(o.Letter)
}

// place is where a letter's message lay, and where the letter lies, unless it has left the box.
func place(l Letter) string {
	at := fmt.Sprintf("%d in its queue", l.Sequence)
	if l.Seq > 0 {
		at += fmt.Sprintf(", %d in %s", l.Seq, schema.StreamDead)
	}
	return at
}
