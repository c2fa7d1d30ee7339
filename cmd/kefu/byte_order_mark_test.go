package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that a Windows editor has saved begins with a byte order mark. It means the same as without.

const bom = "\ufeff"

func TestFilesOfPacketsMayBeginWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	s := newCampaignStage(t)
	packet := packetFor(recipient)
	s.write("marked.json", bom+packet+"\r\n")
	s.write("marked.ndjson", bom+packetFor("o1")+"\r\n"+packetFor("o2")+"\r\n")
	s.write("marked.csv", bom+"openid,name\r\no1,Li\r\n")
	s.write("marked-template.json", bom+campaignTemplate)
	piped := func(c *try) { c.stdin = bom + packet }
	for line, change := range map[string]func(*try){
		"validate @marked.json":                        nil,
		"validate @marked.ndjson":                      nil,
		"validate -":                                   piped,
		"send --app wx1 --packet @marked.json":         nil,
		"send --app wx1 --packet -":                    piped,
		"send --app wx1":                               piped,
		"campaign start a --file @marked.ndjson --yes": nil,
		"campaign start b --file @marked.csv --template @marked-template.json --yes": nil,
	} {
		if change == nil {
			change = func(*try) {}
		}
		got := s.kefu(line, func(c *try) { c.environ = []string{"S=x"} }, change)
		s.Equal(exitDone, got.code, "%s: %s", line, got.err)
	}
	s.Equal(3+2+1, s.messages())
}

func TestAPacketOfTheLargestSizeMayHaveAByteOrderMarkToo(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	head, tail := `{"touser":"o1","msgtype":"text","text":{"content":"hi"},"x":"`, `"}`
	largest := head + strings.Repeat("x", 64<<10-len(head)-len(tail)) + tail
	for _, text := range []string{largest, bom + largest} {
		got := o.kefu("send --app wx1", func(c *try) { c.stdin = text })
		o.Equal(exitDone, got.code, got.err)
	}
}

func TestOtherFilesMayBeginWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	path := func(name, text string) string {
		file := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(file, []byte(bom+text), 0o600))
		return file
	}
	check := kefu(t, try{args: args("config check"), file: bom + twoApps, environ: []string{"S=x"}})
	require.Equal(t, exitDone, check.code, check.err)

	url, stop := startSandbox(t, "--rules "+path("rules.json", `{"call":"send","openid":"oBusy","errcode":-1}`)+
		" --settings "+path("settings.json", `{"messages":{"text_bytes":5}}`)+" --apps "+path("apps.json", `{"wx1":"mine"}`))
	token := post(t, url+"/cgi-bin/stable_token", `{"grant_type":"client_credential","appid":"wx1","secret":"mine"}`)
	send := url + "/cgi-bin/message/custom/send?access_token=" + token["access_token"].(string)
	require.InDelta(t, -1, post(t, send, strings.Replace(goodPacket, "o1", "oBusy", 1))["errcode"], 0)
	require.InDelta(t, 45002, post(t, send, strings.Replace(goodPacket, "hi", "longer", 1))["errcode"], 0)
	require.Equal(t, exitDone, stop())

	for _, file := range []string{"plain", bom + "plain"} {
		c := newCLI(nil, strings.NewReader(file+"\r\n"), nil, nil)
		password, err := c.readPassword("-")
		require.NoError(t, err)
		require.Equal(t, "plain", password)
	}
}
