package wechat

// recipientCodes are the answers to a send that are about the recipient or about what the app may
// send at all.
var recipientCodes = []Code{
	// The recipient.
	{
		CallSend, 40003, "invalid_openid", FaultRecipient,
		"no such openid for this app: not a follower, or another app's openid",
		"不合法的 openid：用户未关注该公众号，或 openid 属于其他公众号", srcOJPM,
		"If many come in a row, the producer takes openids of another app.",
		"若接连出现，说明生产方使用了其他公众号的 openid。",
	},
	{
		CallSend, 43004, "follow_required", FaultRecipient,
		"the receiver must follow the app", "需要接收者关注该公众号", srcJPM,
		doFollowEn, doFollowZh,
	},
	{
		CallSend, 43005, "friend_required", FaultRecipient,
		"sender and receiver must be friends", "需要好友关系", srcJP,
		doFollowEn, doFollowZh,
	},
	{
		CallSend, 43019, "receiver_blacklisted", FaultRecipient,
		"the receiver is on the app's own blacklist", "接收者在该公众号的黑名单中", srcJP,
		"Take the user off the blacklist on mp.weixin.qq.com if that was not meant.",
		"如属误操作，请在 mp.weixin.qq.com 将该用户移出黑名单。",
	},
	{
		CallSend, 43006, "receiver_has_blocked", FaultRecipient,
		"the user has blocked the app", "用户已屏蔽该公众号", srcJW,
		doUserEn, doUserZh,
	},
	{
		CallSend, 50006, "friends_authorisation_off", FaultRecipient,
		"the user has switched the friends' authorisation off", "用户已关闭好友授权", srcJW,
		doUserEn, doUserZh,
	},
	{
		CallSend, 43101, "receiver_refuses", FaultRecipient,
		"the user refuses the message (subscribe messages)", "用户拒绝接收消息（订阅消息）", srcJP,
		doUserEn, doUserZh,
	},
	{
		CallSend, 45015, "window_closed", FaultRecipient,
		"the reply window is closed (48 hours after a message, 1 minute after a menu click, scan " +
			"or follow), or the user has left",
		"回复时间超过限制（用户发消息后 48 小时，点击菜单、扫码或关注后 1 分钟），" +
			"或用户已取消关注", srcJPC,
		"Nothing to repair for this message. If it comes soon after the user acted, the queue is " +
			"too slow: kefu app list shows the backlog.",
		"该消息无法补救。若用户刚有动作就出现，说明排队过久，可用 kefu app list 查看积压。",
	},
	{
		CallSend, 45037, "never_talked", FaultRecipient,
		"the user never talked to the app, or too long ago (temporary session)",
		"用户从未与该公众号会话，或会话已过期（临时会话）", srcJ,
		doUserEn, doUserZh,
	},
	{
		CallSend, 45038, "temporary_session_over", FaultRecipient,
		"the user follows the app: the temporary-session API does not apply",
		"用户已关注公众号，不能使用临时会话接口", srcJ,
		doUserEn, doUserZh,
	},
	{
		CallSend, 45047, "allowance_used", FaultRecipient,
		"as many messages as this user may get were sent (5 after a message of theirs, 3 after a " +
			"menu click, scan or follow)",
		"客服消息下行条数已达上限（用户发消息后 5 条，点击菜单、扫码或关注后 3 条）", srcJPC,
		"Nothing to repair: the user's next action opens a new allowance. Put less into more " +
			"messages.",
		"该消息无法补救：用户再次互动后会重新计数。建议合并内容、减少条数。",
	},
	{
		CallSend, 45093, "no_send_quota", FaultRecipient,
		"no quota left to send to this user", "没有可用的下发额度", srcJ,
		doUserEn, doUserZh,
	},
	{
		CallSend, 46004, "user_missing", FaultRecipient,
		"no such user", "用户不存在", srcJP,
		"Correct the openid in the producer.",
		"请在生产方核对 openid。",
	},
	{
		CallSend, 48002, "receiver_blocks", FaultRecipient,
		"the user has switched off messages from the app",
		"用户已关闭“接收消息”，拒收该公众号的消息", srcJP,
		"Nothing to repair: only the user can switch messages on again.",
		"无法补救：需由用户自行重新打开“接收消息”。",
	},
	{
		CallSend, 49003, "openid_of_other_app", FaultRecipient,
		"the openid does not belong to this app", "openid 与 appid 不匹配", srcJM,
		"The producer takes openids of another app: correct the appid or the openid.",
		"生产方使用了其他公众号的 openid：请核对 appid 与 openid。",
	},
	{
		CallSend, 50005, "not_following", FaultRecipient,
		"the user does not follow the app", "用户未关注该公众号", srcJPM,
		doFollowEn, doFollowZh,
	},
	{
		CallSend, 70000, "minor_protected", FaultRecipient,
		"refused to protect a minor",
		"为保护未成年人，该消息被拒绝下发", srcOM + "; community reports",
		"Nothing to repair.", "无法补救。",
	},

	// What the app may send. One message, recipient or kf_account can draw most of these: the texts
	// say so.
	{
		CallAny, 40200, "account_type_unsuitable", FaultConfig,
		"this kind of account may not use the API", "帐号类型不支持该接口", srcOJM,
		"Check the appid: customer-service messages need a certified official account.",
		"请核对 appid：客服消息仅限已认证的公众号使用。",
	},
	{
		CallSend, 40200, "account_type_or_msgtype_unsuitable", FaultConfig,
		"this kind of account may not use the API, or not for this type of message",
		"帐号类型不支持该接口，或不支持此消息类型", srcOJM + "; community reports",
		"If it is one type of message only (msgmenu on test and subscription accounts), " +
			"send another type; if every message draws it, " +
			"check the appid: customer-service messages need a certified official account.",
		"若仅某一类消息出现（如测试号、订阅号的 msgmenu），请改用其他消息类型；若所有消息都如此，" +
			"请核对 appid：客服消息仅限已认证的公众号使用。",
	},
	{
		CallSend, 48001, "send_unauthorised", FaultConfig,
		"the app may not send customer-service messages, or not of this type, or the " +
			"token is another kind of account's",
		"该公众号没有客服消息（或此消息类型）的权限，或所用 access_token " +
			"属于其他类型的帐号", srcOJPM,
		"If it is one type of message only, send another type; if every message draws " +
			"it, check on mp.weixin.qq.com that the account is certified and has the " +
			"customer-service permission, and that the appid is the right one.",
		"若仅某一类消息出现，请改用其他消息类型；若所有消息都如此，请在 mp.weixin.qq.com " +
			"确认该公众号已认证并拥有客服消息权限，同时核对配置的 appid。",
	},
	{
		CallSend, 45103, "send_unsupported", FaultConfig,
		"this API, or this type of message, is no longer supported",
		"该接口或此消息类型已不再支持", srcJC,
		"If it is one type of message only, send another type; if every message draws " +
			"it, read the notices on mp.weixin.qq.com.",
		"若仅某一类消息出现，请改用其他消息类型；若所有消息都如此，请登录 mp.weixin.qq.com " +
			"查看站内通知。",
	},
	{
		CallSend, 40013, "appid_of_app_or_weapp", FaultConfig,
		"no such AppID: the app's, or the one in a miniprogrampage",
		"不合法的 AppID：公众号的，或 miniprogrampage 中的小程序 appid", srcOJPM,
		"If it is miniprogrampage messages only, correct the appid in them; if every " +
			"message draws it, copy the AppID and AppSecret from mp.weixin.qq.com once " +
			"more into the configuration.",
		"若仅 miniprogrampage 消息出现，请修正其中的 appid；若所有消息都如此，" +
			"请在 mp.weixin.qq.com 重新核对 AppID 与 AppSecret 并更新配置。",
	},
	{
		CallSend, 41002, "appid_missing_in_weapp", FaultConfig,
		"the request carried no AppID, or a miniprogrampage none",
		"缺少 appid 参数（公众号的，或 miniprogrampage 中的）", srcJPM,
		"If it is miniprogrampage messages only, put the appid into them; if every " +
			"message draws it, check the appid in the configuration.",
		"若仅 miniprogrampage 消息出现，请补上其中的 appid；若所有消息都如此，请检查配置的 appid。",
	},
	{
		CallSend, 50001, "send_not_granted", FaultConfig,
		"the account, or this user, has not granted this API", "公众号或该用户未授权此接口", srcJP,
		"If it is one user only, nothing can be done; if every message draws it, check " +
			"the permissions on mp.weixin.qq.com.",
		"若仅个别用户出现，无法处理；若所有消息都如此，请在 mp.weixin.qq.com 检查接口权限。",
	},
	{
		CallSend, 50002, "account_or_user_limited", FaultConfig,
		"the account, or this user's, is limited: frozen, cancelled or punished",
		"公众号或该用户的帐号受限：可能被冻结、注销或因违规被处罚", srcJPM,
		"If it is one user only, nothing can be done; if every message draws it, log in " +
			"to mp.weixin.qq.com as the app's administrator and read the notices there.",
		"若仅个别用户出现，无法处理；若所有消息都如此，请以管理员身份登录 mp.weixin.qq.com " +
			"查看站内通知。",
	},
	{
		CallSend, 50003, "user_not_in_white_list", FaultConfig,
		"the account, or this user, is not on the white list of this API",
		"公众号或该用户不在此接口的白名单中", srcJ,
		"If it is one user only, nothing can be done; if every message draws it, log in " +
			"to mp.weixin.qq.com as the app's administrator and read the notices there.",
		"若仅个别用户出现，无法处理；若所有消息都如此，请以管理员身份登录 mp.weixin.qq.com " +
			"查看站内通知。",
	},
	{
		CallSend, 45087, "service_messages_blocked", FaultConfig,
		"customer-service messages of this account are blocked", "该公众号的客服消息已被封禁", srcJ,
		doMPEn, doMPZh,
	},
	{
		CallSend, 45094, "service_messages_punished", FaultConfig,
		"custom messages on session entry are forbidden as a punishment",
		"因违规处罚，禁止在用户进入会话时下发客服消息", srcJ,
		doMPEn, doMPZh,
	},
	{
		CallSend, 65400, "new_service_not_enabled", FaultConfig,
		"the new customer service is not enabled, or was enabled minutes ago",
		"未开通新版客服功能，或刚开通尚未生效",
		srcOJM + "; community reports",
		"If it is messages of one kf_account only, correct or leave out customservice in " +
			"them. Otherwise enable the new customer service " +
			"on mp.weixin.qq.com and add a first kfaccount; it takes about 5 minutes to count.",
		"若仅使用某一客服帐号的消息出现，请修正或去掉其中的 customservice；" +
			"否则请在 mp.weixin.qq.com 开通新版客服功能并添加首个客服帐号，约 5 分钟后生效。",
	},
	{
		CallSend, 48008, "msgtype_not_permitted", FaultMessage,
		"the app may not send this type of message", "没有该类型消息的发送权限", srcJP,
		"Send the content as another type, or apply for the permission on mp.weixin.qq.com.",
		"请改用其他消息类型，或在 mp.weixin.qq.com 申请该权限。",
	},

	// The customer-service account that the message names.
	{
		CallSend, 61452, "unknown_kfaccount", FaultMessage,
		"the kf_account named in customservice does not exist (old numbering)",
		"customservice 中的客服帐号无效（旧版返回码）", srcOJPM,
		doKFEn, doKFZh,
	},
	{
		CallSend, 65401, "unknown_kfaccount_new", FaultMessage,
		"the kf_account named in customservice does not exist",
		"customservice 中的客服帐号不存在", srcOJPM,
		doKFEn, doKFZh,
	},
	{
		CallSend, 65402, "kfaccount_not_bound", FaultMessage,
		"the kf_account named in customservice is not bound to a WeChat id yet",
		"customservice 中的客服帐号尚未绑定微信号", srcOJM,
		"Have the customer-service agent accept the invitation in WeChat, then replay.",
		"请让该客服在微信中接受绑定邀请，之后重放死信。",
	},

	// Known by name, but of other APIs.
	{
		CallSend, 40023, "menu_sub_buttons", FaultMessage,
		"number of sub-buttons of a menu (menu API)", "不合法的子菜单按钮个数（菜单接口）", srcJPM,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 40130, "mass_send_two_openids", FaultMessage,
		"fewer than two openids (mass send only)", "openid 列表至少需要两个（仅群发接口）", srcJ,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 45065, "clientmsgid_exists", FaultMessage,
		"this clientmsgid was used already (mass send only)",
		"相同 clientmsgid 已存在群发记录（仅群发接口）", srcJPM,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 45066, "clientmsgid_too_fast", FaultMessage,
		"the same clientmsgid was repeated too fast (mass send only)",
		"相同 clientmsgid 重试过快（仅群发接口）", srcJPM,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 45067, "clientmsgid_too_long", FaultMessage,
		"the clientmsgid is too long (mass send only)",
		"clientmsgid 长度超过限制（仅群发接口）", srcJPM,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 45157, "tag_name_invalid", FaultMessage,
		"not a valid tag name (tag API)", "标签名不合法（标签接口）", srcJM,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 45158, "tag_name_too_long", FaultMessage,
		"the tag name is too long (tag API)", "标签名长度超过限制（标签接口）", srcJM,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 45159, "tag_id_invalid", FaultMessage,
		"not a valid tag id (tag API)", "标签 id 不合法（标签接口）", srcJM,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 88000, "no_comment_privilege", FaultMessage,
		"the account has no comment privilege (comment API)", "没有留言权限（留言接口）", srcJ,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 9001001, "nearby_post_invalid", FaultMessage,
		"the posted data is invalid (shake-nearby API)",
		"POST 数据参数不合法（摇一摇周边接口）", srcJP,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 9001002, "nearby_remote_unavailable", FaultBusy,
		"the remote service is unavailable (shake-nearby API)",
		"远端服务不可用（摇一摇周边接口）", srcJP,
		doNeverEn, doNeverZh,
	},
	{
		CallSend, 9001003, "nearby_ticket_invalid", FaultMessage,
		"not a valid ticket (shake-nearby API)", "Ticket 不合法（摇一摇周边接口）", srcJP,
		doNeverEn, doNeverZh,
	},
}
