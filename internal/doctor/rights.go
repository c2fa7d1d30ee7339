package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// userInfo is where a user asks the broker who it is.
const userInfo = "$SYS.REQ.USER.INFO"

// user is what the broker says of its user.
type user struct {
	Name        string `json:"user"`
	Permissions *struct {
		Publish   *subjects `json:"publish"`
		Subscribe *subjects `json:"subscribe"`
	} `json:"permissions"`
}

// subjects are what a user may publish or subscribe to.
type subjects struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// may says whether the user may publish to a subject.
func (u *user) may(subject string) bool {
	return u.Permissions == nil || u.Permissions.Publish.includes(subject)
}

// includes says whether a subject is among these. Without a list everything is.
func (s *subjects) includes(subject string) bool {
	matches := func(pattern string) bool { return matches(subject, pattern) }
	return s == nil || (len(s.Allow) == 0 || slices.ContainsFunc(s.Allow, matches)) &&
		!slices.ContainsFunc(s.Deny, matches)
}

// matches says whether a subject without wildcards falls under a pattern.
func matches(subject, pattern string) bool {
	tokens := strings.Split(subject, ".")
	parts := strings.Split(pattern, ".")
	for i, part := range parts {
		switch {
		case part == ">":
			return len(tokens) > i
		case i >= len(tokens), part != "*" && part != tokens[i]:
			return false
		}
	}
	return len(tokens) == len(parts)
}

// askUser asks the broker what it knows of its user.
func (s *scene) askUser(ctx context.Context) (*user, error) {
	conn, err := s.broker()
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data *user `json:"data"`
	}
	err = s.ask(ctx, []string{userInfo}, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, s.Wait)
		defer cancel()
		m, err := conn.NC.RequestWithContext(ctx, userInfo, nil)
		if err != nil {
			return err
		}
		return json.Unmarshal(m.Data, &answer)
	})
	if err != nil || answer.Data == nil {
		return nil, &skip{"the broker does not tell this user its rights",
			"Allow it to publish to " + userInfo + ", see deploy/RIGHTS.md."}
	}
	return answer.Data, nil
}

// The roles of deploy/RIGHTS.md whose users run commands of kefu. A bit each.
const (
	worker role = 1 << iota
	operator
	provisioner
	privacy
	viewer
)

// role is one role or several.
type role uint8

// roleNames are in the order in which a user is taken for one.
var roleNames = []struct {
	role role
	name string
}{
	{worker, "worker"}, {operator, "operator"}, {provisioner, "provisioner"}, {privacy, "privacy"},
	{viewer, "viewer"},
}

// Roles returns the names that Options.Role may have.
func Roles() []string {
	names := make([]string, len(roleNames))
	for i, r := range roleNames {
		names[i] = r.name
	}
	return names
}

// right is a subject that a role must be able to publish to, APP for the appid of each app.
type right struct {
	subject string
	of      role
	why     string
}

// everybody but those that are told to keep out.
const (
	lookers = operator | viewer
	readers = worker | operator | viewer | privacy
)

// rights are what deploy/nats-roles.conf gives, each by an example: it may be given by any pattern
// that the example falls under. TestTheRightsAreThoseOfTheRoles holds the two together.
var rights = []right{
	{"$JS.ACK.KEFU_SEND_APP.live-0.1.1.1.1.0", worker, "acknowledge what has ended"},
	{"$JS.ACK.KEFU_LATER.dispatch.1.1.1.1.0", worker, "acknowledge what has come due"},
	{"kefu.again.APP.live.x", worker, "queue what comes again"},
	{"kefu.later.wait.APP.x", worker, "put an intent off"},
	{"kefu.receipt.APP.sent", worker, "say how an intent ended"},
	{"kefu.rate.APP", worker, "take from an app's rate"},
	{"kefu.ledger.x", worker | privacy, "mark what is begun and how it ended"},
	{"kefu.dead.APP.rejected", worker | operator, "store a letter"},
	{"kefu.deadindex.x", worker | operator, "store where a letter lies"},
	{"kefu.audit.x", worker | operator, "write down who does what"},
	{"kefu.audit.setup", provisioner, "write down that it was done"},
	{"kefu.audit.forget", privacy, "write down that a person was removed"},
	{"kefu.send.APP.live.x", operator, "publish a message"},
	{"kefu.send.APP.bulk.x", operator, "publish a message of a campaign"},
	{"kefu.campaign.APP.x.1", operator | privacy, "store a campaign's rows"},
	{"kefu.receipt.APP.cancelled", privacy, "say that an intent was taken out"},

	{"$KV.KEFU_STATE.pool.worker.x", worker, "give a sign of life, take shards, hold an app"},
	{"$KV.KEFU_STATE.app.APP.operator", operator, "pause an app"},
	{"$KV.KEFU_STATE.app.APP.hold", operator, "lift a hold"},
	{"$KV.KEFU_STATE.cancel.APP.x", operator, "withdraw an intent"},
	{"$KV.KEFU_STATE.cancel-campaign.APP.x", operator, "cancel a campaign"},
	{"$KV.KEFU_STATE.acknowledged.x", operator, "say that they look after a group of letters"},
	{"$KV.KEFU_STATE.forget.APP.x", privacy, "have workers send a person nothing"},
	{"$KV.KEFU_STATE.pool.log_key", provisioner, "make the key of the pool's hashes"},
	{"$KV.KEFU_JOB.job.x.part.APP", worker, "say how far jobs have come"},
	{"$KV.KEFU_JOB.campaign.APP.x", operator, "say what is known of a campaign"},
	{"$KV.KEFU_JOB.job.x.order", operator, "order a job"},
	{"$KV.KEFU_JOB.edited.APP.1", privacy, "take away the original of an edited letter"},

	{"$JS.API.INFO", worker | lookers, "see the account's limits (only kefu doctor)"},
	{userInfo, worker | lookers, "see its own rights (only kefu doctor)"},
	{"$JS.API.STREAM.NAMES", lookers | privacy, "see which apps have a queue"},
	{"$JS.API.STREAM.INFO.KEFU_SEND_APP", readers | provisioner, "see how a stream is set"},
	{"$JS.API.STREAM.CREATE.KEFU_SEND_APP", provisioner, "create a stream"},
	{"$JS.API.STREAM.UPDATE.KEFU_SEND_APP", provisioner, "change a stream"},
	{"$JS.API.STREAM.CREATE.KEFU_RATE", worker, "make the stream of rates"},
	{"$JS.API.STREAM.PURGE.KEFU_CAMPAIGN", worker | operator, "remove rows that nobody needs"},
	{"$JS.API.STREAM.MSG.DELETE.KEFU_DEAD", worker | operator | privacy, "take a letter out"},
	{"$JS.API.STREAM.MSG.DELETE.KEFU_SEND_APP", worker | privacy, "take a message out of a queue"},
	{"$JS.API.STREAM.MSG.GET.KEFU_SEND_APP", worker, "send again what was purged"},

	{"$JS.API.DIRECT.GET.KEFU_SEND_APP", readers, "read what is stored"},
	{"$JS.API.DIRECT.GET.KEFU_RATE.kefu.rate.APP", worker, "read an app's rate"},
	{"$JS.API.DIRECT.GET.KV_KEFU_STATE.$KV.KEFU_STATE.app.APP.hold", readers, "read a key"},
	{"$JS.API.DIRECT.GET.KV_KEFU_STATE.$KV.KEFU_STATE.pool.log_key", provisioner, "read the key"},
	{"$JS.API.DIRECT.GET.KV_KEFU_JOB.$KV.KEFU_JOB.job.x.order", worker | lookers, "read a job"},
	{"$JS.API.DIRECT.GET.KEFU_CAMPAIGN.kefu.campaign.APP.x.1", worker, "read a campaign's rows"},

	{"$JS.API.CONSUMER.CREATE.KEFU_SEND_APP.bulk.x", worker, "make a queue's consumers"},
	{"$JS.API.CONSUMER.MSG.NEXT.KEFU_SEND_APP.bulk", worker, "read a queue"},
	{"$JS.API.CONSUMER.INFO.KEFU_SEND_APP.bulk", worker, "ask after a consumer"},
	{"$JS.API.CONSUMER.DELETE.KEFU_SEND_APP.bulk", worker, "cut off the former reader of a shard"},
	{"$JS.API.CONSUMER.CREATE.KEFU_LEDGER.x.kefu.ledger.x", worker, "follow the ledger"},
	{"$JS.API.CONSUMER.MSG.NEXT.KEFU_LEDGER.x", worker, "follow the ledger"},
	{"$JS.API.CONSUMER.CREATE.KV_KEFU_STATE.x.y", worker | operator, "follow a hold"},
	{"$JS.API.CONSUMER.MSG.NEXT.KV_KEFU_STATE.x", worker | operator, "follow a hold"},
	{"$JS.API.CONSUMER.INFO.KV_KEFU_STATE.x", worker | operator, "ask after a consumer"},
	{"$JS.API.CONSUMER.DELETE.KV_KEFU_STATE.x", worker | operator, "end the following"},
	{"$JS.API.CONSUMER.CREATE.KEFU_DEAD.x.y", lookers | privacy, "read all letters fast"},
	{"$JS.API.CONSUMER.MSG.NEXT.KEFU_DEAD.x", lookers | privacy, "read all letters fast"},
	{"$JS.API.CONSUMER.DELETE.KEFU_DEAD.x", lookers | privacy, "read all letters fast"},
	{"$JS.API.CONSUMER.CREATE.KEFU_RECEIPT.x.y", lookers | privacy, "follow receipts"},
	{"$JS.API.CONSUMER.MSG.NEXT.KEFU_RECEIPT.x", lookers | privacy, "follow receipts"},
	{"$JS.API.CONSUMER.INFO.KEFU_RECEIPT.x", lookers, "ask after a consumer"},
	{"$JS.API.CONSUMER.DELETE.KEFU_RECEIPT.x", lookers | privacy, "end the following"},
}

// rightsSeen is who the broker's user is and what it is for.
type rightsSeen struct {
	user *user
	role string   // that it should have; "" for the one that fits best
	apps []string // whose queues it works with
}

func seeRights(_ context.Context, s *scene) (rightsSeen, error) {
	u, err := s.user()
	if err != nil {
		return rightsSeen{}, err
	}
	seen := rightsSeen{user: u, role: s.Role}
	for _, app := range s.Apps {
		seen.apps = append(seen.apps, app.AppID)
	}
	return seen, nil
}

// lacking returns which rights of a role a user lacks, and how many it has.
func (u *user) lacking(of role, apps []string) (lacks []right, has int) {
	for _, r := range rights {
		if r.of&of == 0 {
			continue
		}
		all := true
		for _, subject := range r.subjects(apps) {
			all = all && u.may(subject)
		}
		if all {
			has++
		} else {
			lacks = append(lacks, r)
		}
	}
	return lacks, has
}

// subjects returns the examples of a right for some apps.
func (r right) subjects(apps []string) []string {
	if !strings.Contains(r.subject, "APP") {
		return []string{r.subject}
	}
	var all []string
	for _, app := range apps {
		all = append(all, strings.ReplaceAll(r.subject, "APP", app))
	}
	return all
}

func judgeRights(r rightsSeen) []Finding {
	if p := r.user.Permissions; p == nil || p.Publish == nil && p.Subscribe == nil {
		return []Finding{well("the broker forbids this user nothing")}
	}
	if p := r.user.Permissions.Subscribe; !p.includes("_INBOX.x.y") {
		return []Finding{bad("the broker's user "+r.user.Name+" may not subscribe to _INBOX.>, "+
			"where answers come", "Allow it, see deploy/RIGHTS.md.")}
	}
	name, lacks := r.closest()
	if len(lacks) == 0 {
		return []Finding{well("user %s has all rights of a role: %s", r.user.Name, name)}
	}
	var found []Finding
	for _, l := range lacks {
		doing := "may not publish to " + strings.ReplaceAll(l.subject, "APP", "<appid>")
		f := bad(fmt.Sprintf("user %s (taken for: %s) %s, to %s", r.user.Name, name, doing, l.why),
			"Give the "+name+" its rights, see deploy/RIGHTS.md; --role names another role.")
		if strings.HasSuffix(l.why, "(only kefu doctor)") {
			f.State = Warning
		}
		found = append(found, f)
	}
	const most = 5
	if len(found) > most {
		found = append(found[:most], bad(
			fmt.Sprintf("and %s more", counted(len(lacks)-most, "right")), found[0].Fix))
	}
	return found
}

// closest returns the role that the user should have, or comes closest to, and what it lacks of it.
func (r rightsSeen) closest() (name string, lacks []right) {
	best := 0
	for _, candidate := range roleNames {
		without, has := r.user.lacking(candidate.role, r.apps)
		if r.role != "" && r.role != candidate.name {
			continue
		}
		if score := has - len(without); name == "" || score > best {
			name, lacks, best = candidate.name, without, score
		}
	}
	return name, lacks
}
