package doctor

// checks are all checks, in the order in which they are reported: from what everything rests on to
// what is about single apps and this machine.
var checks = []check{
	once("broker", "nats.url leads to a broker that takes this user", seeBroker, judgeBroker),
	once("servers", "each server of the cluster is new enough", seeServers, judgeServers),
	once("payload", "the broker takes messages as large as kefu's", seePayload, judgePayload),
	once("jetstream", "it is on, and its limits leave room", seeAccount, judgeAccount),
	once("objects", "streams are as kefu setup would make them", seeObjects, judgeObjects),
	once("replicas", "copies against servers; all of them are there", seeReplicas, judgeReplicas),
	once("fsync", "what is acknowledged is on disk (with --monitor)", seeSync, judgeSync),
	once("rights", "the broker's user may do all that its role does", seeRights, judgeRights),
	once("clock", "this machine's clock against the broker's", seeClock, judgeClock),

	once("workers", "somebody sends", seeWorkers, judgeWorkers),
	once("holds", "no app is held", seeHolds, judgeHolds),
	once("queues", "no queue is nearly full", seeQueues, judgeQueues),
	once("letters", "no dead letter is about to be lost", seeLetters, judgeLetters),

	once("key files", "credentials and keys, and who can read them", seeKeyFiles, judgeKeyFiles),
	each("secret", "the AppSecret: its file, mode and form", seeSecret, judgeSecret),
	once("base url", "wechat.base_url is WeChat's", seeBaseURL, judgeBaseURL),
	once("api", "DNS, connection and certificate of the API", seeAPI, judgeAPI),
	once("api clock", "this machine's clock against the API's", seeAPIClock, judgeClock),
	each("ip list", "WeChat takes calls from this machine", seeIPList, judgeIPList),
	each("token", "an access token can be had", seeToken, judgeToken),
	each("quota", "sends are left for today", seeQuota, judgeQuota),
	each("kfaccounts", "they can be listed, and are bound", seeKFAccounts, judgeKFAccounts),

	once("time zone", "times are shown in the zone of TZ", seeTimeZone, judgeTimeZone),
	once("open files", "the limit, for calls in flight and streams", seeOpenFiles, judgeOpenFiles),
	once("memory", "the limit, for the ledger that a worker keeps", seeMemory, judgeMemory),
	once("disk", "space for an embedded broker's streams", seeDisk, judgeDisk),
}
