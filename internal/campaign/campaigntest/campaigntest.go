// Package campaigntest orders campaigns for tests, as `kefu campaign start` does.
package campaigntest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/recipients"
	"github.com/kefuhq/kefu/schema"
)

// Template is the packet of campaigns without another one.
const Template = `{"msgtype":"text","text":{"content":"sale"}}`

// Order uploads a list of recipients and orders the campaign, and returns the id of its job. The
// pool feeds it.
func Order(t testing.TB, conn *broker.Conn, terms campaign.Terms, openIDs ...string) string {
	t.Helper()
	return OrderFile(t, conn, terms, "openid\n"+strings.Join(openIDs, "\n")+"\n", Template)
}

// OrderFile is Order for a file in CSV and a template.
func OrderFile(
	t testing.TB, conn *broker.Conn, terms campaign.Terms, file, template string,
) string {
	t.Helper()
	packet, err := recipients.ParseTemplate([]byte(template))
	require.NoError(t, err)
	reader, err := recipients.Open(strings.NewReader(file), recipients.Options{
		Name: "recipients.csv", Template: packet, Limits: schema.Limits{},
	})
	require.NoError(t, err)
	defer reader.Close()
	p, err := campaign.Foresee(t.Context(), conn, terms.AppID, terms.Campaign)
	require.NoError(t, err)
	u, err := campaign.NewUpload(conn, terms.AppID, terms.Campaign)
	require.NoError(t, err)
	require.NoError(t, p.Announce(t.Context(), conn, terms, u))
	_, err = campaign.Fill(t.Context(), reader, u, campaign.Filling{Skip: p.Skip()})
	require.NoError(t, err)
	s := reader.Summary()
	require.NoError(t, p.Order(t.Context(), conn, terms, campaign.File{
		Digest: s.File, Template: s.Template, Rows: s.Rows, Invalid: s.Invalid,
		Repeated: s.Repeated,
	}, u))
	return u.ID
}
