package dead

import (
	"context"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/schema"
)

func changedBy(c letter.Change) string {
	return cli.Clean(fmt.Sprintf(
		"Replay %s of %s has changed and sent this letter %s; it is shown as it was before.",
		c.Job, c.By, cli.Moment(c.At)))
}

// letters are those of an id in the box, and as they were before replays sent them with changes.
func (d *show) letters(
	ctx context.Context, conn *broker.Conn, boxed []deadletter.Item, id string,
) ([]letter.Letter, error) {
	var everywhere []string
	if len(boxed) == 0 {
		known, err := d.broker.Apps(ctx, conn)
		if err != nil {
			return nil, err
		}
		for _, app := range known {
			everywhere = append(everywhere, app.AppID)
		}
	}
	return letter.All(ctx, conn, boxed, id, everywhere, mask.Mask{Reveal: d.reveal})
}

// place is where a letter's message lay, and where the letter lies, unless it has left the box.
func place(l letter.Letter) string {
	at := fmt.Sprintf("%d in its queue", l.Sequence)
	if l.Seq > 0 {
		at += fmt.Sprintf(", %d in %s", l.Seq, schema.StreamDead)
	}
	return at
}
