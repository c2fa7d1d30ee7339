package root_test

// errand is a command line that somebody with a role runs.
type errand struct {
	by   role
	line string // @ is the folder of the errand's files, OLDEST and NEWEST are replays

	// until is what it prints before it is interrupted; "" for one that ends by itself.
	until string
}

// role says who may run a command.
type role string

const (
	anybody    role = ""            // it asks nothing of the broker of the configuration
	looks      role = "viewer"      // and an operator
	acts       role = "operator"    // and no viewer
	forgets    role = "privacy"     // removes a person, and nothing else
	provisions role = "provisioner" // sets the broker up
	works      role = "worker"      // carries out
)

// errands are all commands with what each of them needs the broker for, in an order in which each
// finds something to do.
var errands = []errand{
	{anybody, "bench", ""},
	{anybody, "config check", ""},
	{anybody, "config print", ""},
	{anybody, "config reference", ""},
	{anybody, "dev", ""},
	{anybody, "errcode", ""},
	{anybody, "sandbox", ""},
	{anybody, "validate", ""},
	{anybody, "version", ""},
	{provisions, "setup", ""},
	{works, "worker", ""},
	{looks, "console --listen 127.0.0.1:0", "kefu console is at"},

	{acts, "send --openid alice --text hi --id hi --source shop --wait", ""},
	{acts, "send --openid alice --text hi --id later --send-at 2h", ""},
	{acts, "send --openid alice --text hi --id latest --send-at 2h", ""},
	{acts, "send --openid alice --text sale --campaign sale", ""},
	{looks, "find hi", ""},
	{looks, "find later", ""},
	{looks, "find gone-1", ""},
	{looks, "find --openid alice", ""},
	{acts, "cancel later", ""},

	{looks, "dead groups", ""},
	{acts, "dead ack 7fb47d95 --note seen", ""},
	{looks, "dead list", ""},
	{looks, "dead list --openid gone -o json", ""},
	{looks, "dead show gone-1", ""},
	{acts, "dead list --reveal", ""},
	{acts, "dead show gone-1 --reveal", ""},
	{looks, "dead replay gone-1 --dry-run", ""},
	{looks, "dead discard gone-1 --dry-run", ""},
	{acts, "dead export @letters.ndjson --yes", ""},
	{acts, "dead discard gone-1 --yes", ""},
	{acts, "dead discard --openid gone --limit 1 --yes", ""},
	{looks, "dead import @letters.ndjson --dry-run", ""},
	{acts, "dead import @letters.ndjson", ""},
	{acts, "dead replay gone-1 --yes", ""},
	{acts, "dead replay --openid gone --limit 1 --yes", ""},
	{looks, "dead replays", ""},
	{looks, "dead replays show OLDEST", ""},
	{looks, "dead replays watch OLDEST", ""},
	{acts, "dead replay --openid gone --rate 0.001 --detach --yes", ""},
	{acts, "dead replays pause NEWEST", ""},
	{acts, "dead replays resume NEWEST", ""},
	{acts, "dead replays abort NEWEST --yes", ""},

	{acts, "campaign start spring @users.csv --template @packet.json", ""},
	{looks, "campaign start summer @users.csv --template @packet.json --dry-run", ""},
	{looks, "campaign start summer @users.csv --template @packet.json --dry-run --skip-closed", ""},
	{looks, "campaign list", ""},
	{looks, "campaign status spring", ""},
	{looks, "campaign watch spring", ""},
	{acts, "campaign start winter @users.csv --template @packet.json --test-to alice --yes", ""},
	{acts, "campaign report autumn", ""},
	{acts, "campaign report sale", ""},
	{acts, "campaign pause autumn", ""},
	{acts, "campaign resume autumn", ""},
	{acts, "campaign cancel autumn --yes", ""},

	{looks, "app list", ""},
	{looks, "app status", ""},
	{acts, "app pause --reason because", ""},
	{acts, "app resume", ""},
	{acts, "app probe", ""},
	{looks, "app quota", ""},
	{acts, "app quota --reset --yes", ""},
	{looks, "overview", ""},
	{looks, "pool", ""},
	{looks, "doctor", ""},

	{looks, "kfaccount list", ""},
	{looks, "kfaccount online", ""},
	{acts, "kfaccount add test1@test --nickname one", ""},
	{acts, "kfaccount update desk@test --nickname two", ""},
	{acts, "kfaccount avatar desk@test @face.jpg", ""},
	{acts, "kfaccount delete old@test --yes", ""},
	{acts, "typing --openid alice", ""},

	{looks, "audit", ""},
	{looks, "audit --verb discard", ""},
	{looks, "forget --openid alice --dry-run", ""},
	{forgets, "forget --openid alice --yes", ""},
	{looks, "tail --since 1h", "hi"},
	{looks, "tail --app wx0000000000000001 --state dead --since 1h", "gone-1"},
}
