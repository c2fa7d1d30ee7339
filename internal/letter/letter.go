// Package letter is a dead letter as people are shown it: explained, with the commands that do what is
// advised, and without what is said to whom unless that is revealed. Commands and pages show the
// same.
package letter

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Letter is a letter as JSON: the stored one, masked, with its place in the box and what kefu
// advises.
type Letter struct {
	schema.Letter
	Masked  bool    `json:"masked,omitempty"`  // what is said and to whom is taken out
	Changed *Change `json:"changed,omitempty"` // who sent it with changes; nil for one in the box
	Seq     uint64  `json:"seq"`

	Group    string   `json:"group"` // of those that died of the same
	Means    string   `json:"means"`
	MeansZh  string   `json:"means_zh"`
	Advice   string   `json:"advice"`
	AdviceZh string   `json:"advice_zh"`
	Commands []string `json:"commands"` // that do what is advised

	Shown string `json:"-"` // the packet as people are shown it
}

// New explains a letter, and masks it. several says that it is not the only one of its id.
func New(i deadletter.Item, m mask.Mask, several bool) Letter {
	l := i.Letter
	advice := deadletter.AdviceOn(l.Reason, l.Errcode)
	out := Letter{
		Letter: l, Seq: i.Seq, Group: deadletter.GroupOf(&l),
		Means: advice.MeansEn, MeansZh: advice.MeansZh, Advice: advice.DoEn, AdviceZh: advice.DoZh,
		Commands: remedy(&l, several), Shown: m.Packet(l.Packet()),
	}
	if !m.Reveal {
		out.mask(m)
	}
	return out
}

// mask takes out what is said and to whom.
func (l *Letter) mask(m mask.Mask) {
	openid, headers := l.OpenID, l.Headers
	l.Masked, l.OpenID = true, m.OpenID(openid)
	l.Subject = m.Subject(l.Subject, openid)
	l.Detail, l.Errmsg = m.Within(l.Detail, openid), m.Within(l.Errmsg, openid)
	l.Headers = make(map[string][]string)
	for name, values := range headers {
		for _, value := range values {
			l.Headers[name] = append(l.Headers[name], m.Within(value, openid))
		}
	}
	l.HeadersBase64 = nil
	l.Attempts = slices.Clone(l.Attempts)
	for i := range l.Attempts {
		l.Attempts[i].Errmsg = m.Within(l.Attempts[i].Errmsg, openid)
	}
	wire.SetPacket(&l.Letter, []byte(l.Shown))
}

// Change says who changed the packet of a letter.
type Change struct {
	Job string    `json:"job"` // the replay that sent it
	By  string    `json:"by"`
	At  time.Time `json:"at"`
}

// All are the letters of an id: those in the box, and behind them as they were before replays sent
// them with changes. These are looked for in the apps of the former, and in everywhere when there
// are none.
func All(
	ctx context.Context, conn *broker.Conn, boxed []deadletter.Item, id string, everywhere []string,
	m mask.Mask,
) ([]Letter, error) {
	letters := make([]Letter, 0, len(boxed))
	var appIDs []string
	for _, item := range boxed {
		letters = append(letters, New(item, m, len(boxed) > 1))
		if !slices.Contains(appIDs, item.Letter.AppID) {
			appIDs = append(appIDs, item.Letter.AppID)
		}
	}
	if len(boxed) == 0 {
		appIDs = everywhere
	}
	for _, appID := range appIDs {
		kept, err := replay.Originals(ctx, conn, appID, id)
		if err != nil {
			return nil, err
		}
		for _, o := range kept {
			if inBox(boxed, o.Letter) {
				continue
			}
			l := New(deadletter.Item{Letter: o.Letter}, m, false)
			l.Commands = []string{"kefu find " + quoted(id), "kefu dead replays show " + o.Job}
			l.Changed = &Change{o.Job, o.By, o.At}
			letters = append(letters, l)
		}
	}
	return letters, nil
}

// inBox tells whether a letter is still, or again, in the box: a replay keeps an original before it
// sends anything, and may have ended in between.
func inBox(boxed []deadletter.Item, l schema.Letter) bool {
	return slices.ContainsFunc(boxed, func(item deadletter.Item) bool {
		return item.Letter.AppID == l.AppID && item.Letter.Generation == l.Generation
	})
}

// Row is a letter in a list: what is said, and the attempts, are Letter's.
type Row struct {
	ID                string        `json:"id"`
	AppID             string        `json:"appid"`
	Reason            schema.Reason `json:"reason"`
	Errcode           *int          `json:"errcode,omitempty"`
	Errmsg            string        `json:"errmsg,omitempty"`
	Detail            string        `json:"detail,omitempty"`
	Lane              schema.Lane   `json:"lane"`
	Campaign          string        `json:"campaign,omitempty"`
	OpenID            string        `json:"openid,omitempty"`
	Source            string        `json:"source,omitempty"`
	Generation        int           `json:"generation"`
	Attempts          int           `json:"attempts"`
	PossibleDuplicate bool          `json:"possible_duplicate,omitempty"`
	PublishedAt       time.Time     `json:"published_at,omitzero"`
	DiedAt            time.Time     `json:"died_at"`
	Seq               uint64        `json:"seq"` // in KEFU_DEAD
}

// NewRow takes from a letter what a list shows.
func NewRow(i deadletter.Item, m mask.Mask) Row {
	l := i.Letter
	return Row{
		ID: l.ID, AppID: l.AppID, Reason: l.Reason, Errcode: l.Errcode,
		Errmsg: m.Within(l.Errmsg, l.OpenID), Detail: m.Within(l.Detail, l.OpenID), Lane: l.Lane,
		Campaign: l.Campaign, OpenID: m.OpenID(l.OpenID), Source: l.Source,
		Generation: l.Generation, Attempts: deadletter.AttemptsOf(&l),
		PossibleDuplicate: l.PossibleDuplicate, PublishedAt: l.PublishedAt, DiedAt: l.DiedAt,
		Seq: i.Seq,
	}
}

// Alone returns the row without the rest of its letter, whose memory its strings share.
func (r Row) Alone() Row {
	for _, s := range []*string{&r.ID, &r.AppID, &r.Errmsg, &r.Detail, &r.Campaign, &r.OpenID,
		&r.Source} {
		*s = strings.Clone(*s)
	}
	r.Reason = schema.Reason(strings.Clone(string(r.Reason)))
	r.Lane = schema.Lane(strings.Clone(string(r.Lane)))
	return r
}
