package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/broker"
)

// objectsSeen are the differences between the broker's objects and those that the configuration
// asks for.
type objectsSeen struct {
	changes []broker.Change
	objects int // that there should be
}

func seeObjects(ctx context.Context, s *scene) (objectsSeen, error) {
	conn, err := s.jetstream()
	if err != nil {
		return objectsSeen{}, err
	}
	spec, seen := s.spec(), objectsSeen{}
	wanted := broker.Streams(spec)
	var subjects []string
	for _, want := range wanted {
		subjects = append(subjects, streamInfo+want.Name)
	}
	err = s.ask(ctx, subjects, func(ctx context.Context) error {
		plan, err := broker.NewPlan(ctx, conn.JS, spec)
		if err == nil {
			seen = objectsSeen{plan.Changes, len(wanted)}
		}
		return err
	})
	return seen, err
}

const streamInfo = "$JS.API.STREAM.INFO."

func judgeObjects(o objectsSeen) []Finding {
	var found []Finding
	var missing []string
	differing := make(map[broker.Change][]string) // streams, by how they differ
	for _, c := range o.changes {
		if c.Kind == broker.Create {
			missing = append(missing, c.Stream)
			continue
		}
		stream := c.Stream
		c.Stream = ""
		differing[c] = append(differing[c], stream)
	}
	for _, c := range slices.SortedFunc(maps.Keys(differing), compareChanges) {
		names := differing[c]
		who := strings.Join(names, ", ")
		if len(names) > fewStreams {
			who = counted(len(names), "stream")
		}
		found = append(found, risky(fmt.Sprintf("%s: %s is %s and should be %s", who, c.Field,
			c.Have, c.Want), change(c)))
	}
	switch {
	case len(missing) == o.objects && o.objects > 0:
		found = append(found, bad("none of kefu's streams is there",
			"kefu setup makes them; so does a worker at its start (worker.provision)."))
	case len(missing) > 0:
		found = append(found, bad(strings.Join(missing, ", ")+be(len(missing))+" missing",
			"kefu setup makes what is missing; so does a worker at its start (worker.provision)."))
	}
	return or(found, "%s, all as they should be", counted(o.objects, "stream"))
}

// fewStreams are named one by one.
const fewStreams = 3

// change says how a difference goes away.
func change(c broker.Change) string {
	switch {
	case c.Kind == broker.Lossy:
		return "kefu setup changes it, and asks first: what no longer fits is lost."
	case c.Kind != broker.Refused:
		return "kefu setup changes it; nothing is lost."
	case c.Why != "":
		return sentence(c.Why)
	}
	return "It cannot be changed in place: set the configuration to what is there, or drain the " +
		"stream, delete it and run kefu setup."
}

func compareChanges(a, b broker.Change) int {
	return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Have, b.Have),
		cmp.Compare(a.Want, b.Want), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Why, b.Why))
}

// replicasSeen are the copies of streams, and the servers to hold them.
type replicasSeen struct {
	wanted  int
	cluster bool
	servers int      // of the cluster, as far as they were seen
	behind  []string // "n2 (12 streams)": copies that are not up to date, by server
	alone   []string // streams without a leader
}

func seeReplicas(_ context.Context, s *scene) (replicasSeen, error) {
	conn, err := s.jetstream()
	if err != nil {
		return replicasSeen{}, err
	}
	servers, err := s.servers()
	if err != nil {
		return replicasSeen{}, err
	}
	streams, err := s.streams()
	if err != nil {
		return replicasSeen{}, err
	}
	seen := replicasSeen{wanted: max(s.Config.NATS.Replicas, 1), servers: len(servers),
		cluster: conn.NC.ConnectedClusterName() != ""}
	seen.behind, seen.alone = copies(streams)
	return seen, nil
}

// copies says which servers hold copies that are not up to date, and which streams have no leader.
func copies(streams streamInfos) (behind, alone []string) {
	late := make(map[string]int)
	for name, info := range streams {
		if info.Cluster == nil || info.Cluster.Name == "" {
			continue
		}
		if info.Cluster.Leader == "" {
			alone = append(alone, name)
		}
		for _, peer := range info.Cluster.Replicas {
			if peer.Offline || !peer.Current {
				late[peer.Name]++
			}
		}
	}
	for name, n := range late {
		behind = append(behind, fmt.Sprintf("%s (%s)", name, counted(n, "stream")))
	}
	slices.Sort(behind)
	slices.Sort(alone)
	return behind, alone
}

func judgeReplicas(r replicasSeen) []Finding {
	var found []Finding
	switch {
	case r.wanted > r.servers:
		found = append(found, bad(fmt.Sprintf("nats.replicas is %d, and the broker has %s",
			r.wanted, counted(r.servers, "server")),
			fmt.Sprintf("Start %d servers as one cluster, or set nats.replicas to 1.", r.wanted)))
	case r.wanted == 1 && r.servers >= 3:
		found = append(found, risky(fmt.Sprintf("each stream is on one of %d servers only: with "+
			"that server everything stops", r.servers),
			"Set nats.replicas to 3 and run kefu setup."))
	case r.wanted == 2 || r.wanted == 4:
		found = append(found, risky(fmt.Sprintf("%d copies survive no more losses than %d do",
			r.wanted, r.wanted-1), fmt.Sprintf("Set nats.replicas to %d and run kefu setup.",
			r.wanted+1-2*(r.wanted/4))))
	}
	for _, peer := range r.behind {
		found = append(found, risky("copies are not up to date on "+peer,
			"Look whether that server runs: nats server report jetstream."))
	}
	if len(r.alone) > 0 {
		found = append(found, bad(strings.Join(r.alone, ", ")+": no leader",
			"More than half of the servers must run: start those that are missing."))
	}
	if !r.cluster && r.wanted == 1 {
		return or(found, "one server, one copy: its disk is all there is")
	}
	return or(found, "%s on %s", copiesOf(r.wanted), counted(r.servers, "server"))
}

func copiesOf(n int) string {
	if n == 1 {
		return "1 copy"
	}
	return fmt.Sprintf("%d copies", n)
}
