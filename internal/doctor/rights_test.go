package doctor

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

var passwords = regexp.MustCompile(`\$[A-Z]+_PASSWORD`)

// roleRights returns what deploy/nats-roles.conf lets each user publish to.
func roleRights(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "nats-roles.conf"))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "roles.conf")
	conf := passwords.ReplaceAllString(string(text), "secret")
	require.NoError(t, os.WriteFile(file, []byte(conf), 0o600))
	o, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	all := make(map[string][]string)
	for _, u := range o.Users {
		all[u.Username] = u.Permissions.Publish.Allow
	}
	return all
}

// userWith returns one who may publish to some subjects.
func userWith(t *testing.T, allow ...string) *user {
	t.Helper()
	u := &user{Name: "kefu"}
	u.Permissions = &struct {
		Publish   *subjects `json:"publish"`
		Subscribe *subjects `json:"subscribe"`
	}{Publish: &subjects{Allow: allow}}
	return u
}

func TestTheRightsAreThoseOfTheRoles(t *testing.T) {
	t.Parallel()
	given, apps := roleRights(t), []string{"wx1", "wx2"}
	for _, r := range roleNames {
		allow := given[r.name]
		lacks, _ := userWith(t, allow...).lacking(r.role, apps)
		require.Empty(t, lacks, "what the %s is said to need, and is not given", r.name)
		for _, needless := range allow {
			rest := slices.DeleteFunc(slices.Clone(allow),
				func(s string) bool { return s == needless })
			lacks, _ := userWith(t, rest...).lacking(r.role, apps)
			if covered(needless, rest) {
				continue
			}
			require.NotEmpty(t, lacks, "%s: %s is for nothing that is known here", r.name, needless)
		}
	}
}

// covered says whether others allow what a right allows.
func covered(right string, others []string) bool {
	return slices.ContainsFunc(others, func(other string) bool {
		return server.SubjectMatchesFilter(right, other)
	})
}

func TestAUserIsTakenForTheRoleThatItComesClosestTo(t *testing.T) {
	t.Parallel()
	given := roleRights(t)
	without := func(role, right string) []string {
		return slices.DeleteFunc(slices.Clone(given[role]), func(s string) bool {
			return s == right
		})
	}
	for name, c := range map[string]struct {
		user  *user
		asked string
		takes string
		lacks []string
	}{
		"a worker":      {userWith(t, given["worker"]...), "", "worker", nil},
		"a viewer":      {userWith(t, given["viewer"]...), "", "viewer", nil},
		"privacy":       {userWith(t, given["privacy"]...), "", "privacy", nil},
		"an operator":   {userWith(t, given["operator"]...), "", "operator", nil},
		"a provisioner": {userWith(t, given["provisioner"]...), "", "provisioner", nil},
		"an operator who may not pause": {userWith(t, without("operator",
			"$KV.KEFU_STATE.app.*.operator")...), "", "operator",
			[]string{"$KV.KEFU_STATE.app.APP.operator"}},
		"a user who should be a worker": {
			userWith(t, "$JS.API.>", "$JS.ACK.>", "kefu.>", userInfo), "worker", "worker",
			[]string{"$KV.KEFU_STATE.pool.worker.x", "$KV.KEFU_JOB.job.x.part.APP"}},
	} {
		takes, lacks := rightsSeen{user: c.user, role: c.asked, apps: []string{"wx1"}}.closest()
		var names []string
		for _, l := range lacks {
			names = append(names, l.subject)
		}
		require.Equal(t, c.takes, takes, name)
		require.Equal(t, c.lacks, names, name)
	}
}

func TestWhichSubjectsFallUnderAPattern(t *testing.T) {
	t.Parallel()
	for pattern, rows := range map[string]map[string]bool{
		"a.b":   {"a.b": true, "a.c": false, "a.b.c": false, "a": false},
		"a.*":   {"a.b": true, "a": false, "a.b.c": false},
		"a.>":   {"a.b": true, "a.b.c": true, "a": false},
		">":     {"a": true, "a.b": true},
		"*.b.>": {"a.b.c": true, "a.c.c": false},
	} {
		for subject, under := range rows {
			require.Equal(t, under, matches(subject, pattern), "%s under %s", subject, pattern)
			require.Equal(t, server.SubjectMatchesFilter(subject, pattern), under)
		}
	}
	denied := &subjects{Allow: []string{"a.>"}, Deny: []string{"a.b"}}
	require.True(t, denied.includes("a.c"))
	require.False(t, denied.includes("a.b"))
	require.True(t, (&subjects{Deny: []string{"a.b"}}).includes("x"))
}

func TestManyMissingRightsAreNotAllNamed(t *testing.T) {
	t.Parallel()
	found := judgeRights(rightsSeen{user: userWith(t, "kefu.ledger.*"), role: "worker",
		apps: []string{"wx1"}})
	require.Len(t, found, 6)
	require.Regexp(t, `^and \d+ rights more$`, found[5].Text)
	for _, f := range found {
		require.Equal(t, Error, f.State)
		require.False(t, strings.Contains(f.Text, "APP"), f.Text)
	}
}
