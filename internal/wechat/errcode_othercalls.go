package wechat

// otherCallCodes are those of the calls beside the send: typing, the customer-service accounts, quota
// and rid look-ups. 614xx is the old numbering of the customer-service accounts and 654xx the new
// one; both are still seen.
var otherCallCodes = []Code{
	// Typing. It is best effort: nothing here is worth a second try.
	{
		CallTyping, 45072, "command_invalid", FaultMessage,
		"the command must be Typing or CancelTyping", "command 字段取值不正确", srcOJM,
		doBugEn, doBugZh,
	},
	{
		CallTyping, 45080, "no_recent_exchange", FaultRecipient,
		"no message was exchanged with the user within the last 30 seconds",
		"下发输入状态前 30 秒内须与用户有过消息交互", srcOJM,
		doNothingEn, doNothingZh,
	},
	{
		CallTyping, 45081, "typing_already", FaultRecipient,
		"the typing sign is already shown (it lasts 15 seconds)",
		"已处于输入状态（持续 15 秒），不可重复下发", srcOJM,
		doNothingEn, doNothingZh,
	},
	{
		CallTyping, 40003, "typing_openid_invalid", FaultRecipient,
		"no such openid for this app: not a follower, or another app's openid",
		"不合法的 openid：用户未关注该公众号，或 openid 属于其他公众号", srcOJPM,
		"Check the openid in --openid: each app has openids of its own.",
		"请核对 --openid 中的 openid：每个公众号的 openid 各不相同。",
	},
	{
		CallTyping, 49003, "typing_openid_of_other_app", FaultRecipient,
		"the openid does not belong to this app", "openid 与 appid 不匹配", srcJM,
		"Check the openid in --openid: each app has openids of its own.",
		"请核对 --openid 中的 openid：每个公众号的 openid 各不相同。",
	},
	{
		CallTyping, 43004, "typing_follow_required", FaultRecipient,
		"the receiver must follow the app", "需要接收者关注该公众号", srcJPM,
		doFollowEn, doFollowZh,
	},
	{
		CallTyping, 50005, "typing_not_following", FaultRecipient,
		"the user does not follow the app", "用户未关注该公众号", srcJPM,
		doFollowEn, doFollowZh,
	},
	{
		CallTyping, 43019, "typing_receiver_blacklisted", FaultRecipient,
		"the receiver is on the app's own blacklist", "接收者在该公众号的黑名单中", srcJP,
		"Take the user off the blacklist on mp.weixin.qq.com if that was not meant.",
		"如属误操作，请在 mp.weixin.qq.com 将该用户移出黑名单。",
	},
	{
		CallTyping, 48002, "typing_receiver_blocks", FaultRecipient,
		"the user has switched off messages from the app", "用户已关闭“接收消息”", srcJP,
		"Nothing to repair: only the user can switch them on again.",
		"无法处理：需由用户自行重新打开。",
	},
	{
		CallTyping, 45015, "typing_window_closed", FaultRecipient,
		"the reply window is closed, or the user has left",
		"回复时间超过限制，或用户已取消关注", srcJPC,
		doTypingEn, doTypingZh,
	},
	{
		CallTyping, 45047, "typing_allowance_used", FaultRecipient,
		"the user has got as much as the app may send", "客服消息下行条数已达上限", srcJPC,
		doTypingEn, doTypingZh,
	},

	// Customer-service accounts, old numbering.
	{
		CallKFAccount, 61400, "kfaccount_error", FaultMessage,
		"something is wrong with the kf_account", "客服帐号有误", srcJ,
		doKFEn, doKFZh,
	},
	{
		CallKFAccount, 61401, "kf_system_migrated", FaultMessage,
		"the account has moved to the new customer service", "客服系统已迁移至新版", srcJ,
		doKFEnableEn, doKFEnableZh,
	},
	{
		CallKFAccount, 61450, "kf_system_error", FaultBusy,
		"internal error of the customer-service system", "客服系统错误", srcJ,
		"Run the command again in a moment.", "请稍后重新执行命令。",
	},
	{
		CallKFAccount, 61451, "kf_parameter_invalid", FaultMessage,
		"a parameter is invalid; also what test accounts answer",
		"参数错误；测试号也会返回此码", srcJPC,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 61452, "kfaccount_invalid", FaultMessage,
		"not a valid kf_account", "无效的客服帐号", srcJP,
		doKFEn, doKFZh,
	},
	{
		CallKFAccount, 61453, "kfaccount_exists", FaultMessage,
		"the kf_account exists already", "客服帐号已存在", srcJP,
		doNothingEn, doNothingZh,
	},
	{
		CallKFAccount, 61454, "kfaccount_too_long", FaultMessage,
		"the part before the @ is longer than 10 characters",
		"客服帐号名过长（@ 之前最多 10 个字符）", srcJP,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 61455, "kfaccount_character", FaultMessage,
		"the kf_account holds an illegal character (letters and digits only)",
		"客服帐号含有非法字符（仅允许英文字母和数字）", srcJP,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 61456, "kfaccount_limit", FaultMessage,
		"the app has as many kfaccounts as it may have (10)",
		"客服帐号数量已达上限（10 个）", srcJP,
		"Delete a kfaccount that is no longer used.",
		"请先删除不再使用的客服帐号。",
	},
	{
		CallKFAccount, 61457, "avatar_type", FaultMessage,
		"the avatar must be a JPG file", "头像文件类型无效（须为 JPG）", srcJP,
		"Convert the picture to JPG, about 640 by 640 pixels.",
		"请将头像转换为 JPG 格式，建议约 640×640 像素。",
	},
	{
		CallKFAccount, 61458, "undocumented_61458", FaultMessage,
		"undocumented code of the customer-service accounts",
		"客服帐号接口的未说明返回码", "no source found",
		doNeverEn, doNeverZh,
	},
	{
		CallKFAccount, 61459, "undocumented_61459", FaultMessage,
		"undocumented code of the customer-service accounts",
		"客服帐号接口的未说明返回码", "no source found",
		doNeverEn, doNeverZh,
	},
	{
		CallKFAccount, 61500, "date_format", FaultMessage,
		"the date format is wrong (chat records)", "日期格式错误（聊天记录接口）", srcJP,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 61501, "date_range", FaultMessage,
		"the date range is wrong (chat records)", "日期范围错误（聊天记录接口）", srcJP,
		doKFInputEn, doKFInputZh,
	},

	// Customer-service accounts, the values of a call and the picture.
	{
		CallKFAccount, 40003, "kf_openid_invalid", FaultMessage,
		"not a valid openid", "非法的 openid", srcO,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 40035, "kf_arguments_invalid", FaultMessage,
		"the arguments are invalid", "不合法的参数", srcJP,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 40038, "kf_packaging_invalid", FaultMessage,
		"the form of the request is invalid", "不合法的请求格式", srcJP,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 40097, "kf_arguments_wrong", FaultMessage,
		"the arguments are wrong", "参数错误", srcJPC,
		"Correct the value and run the command again. The app must have a WeChat id of its own " +
			"(微信号), set on mp.weixin.qq.com.",
		"请修正参数后重新执行命令；公众号须先在 mp.weixin.qq.com 设置微信号。",
	},
	{
		CallKFAccount, 40101, "kf_parameter_missing", FaultMessage,
		"a parameter is missing; also what a wrong path answers",
		"缺少参数；接口路径有误时也会返回此码", srcJC,
		"Check wechat.base_url; otherwise correct the value and run the command again.",
		"请检查 wechat.base_url；若无误，请修正参数后重新执行命令。",
	},
	{
		CallKFAccount, 40132, "kf_wechat_id_invalid", FaultMessage,
		"not a valid WeChat id", "微信号不合法", srcJP,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 41011, "kf_field_missing", FaultMessage,
		"a required field is missing", "缺少必填字段", srcJP,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 45078, "nickname_illegal_old", FaultMessage,
		"not a legal nickname (other numbering)", "昵称不合法（另一编号）", srcJW,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 45079, "nickname_forbidden", FaultMessage,
		"the nickname holds a forbidden word", "昵称含有违禁词", srcJW,
		"Take another nickname and run the command again.",
		"请更换昵称后重新执行命令。",
	},
	{
		CallKFAccount, 45091, "account_name_illegal", FaultMessage,
		"not a legal name of an account", "客服帐号名称不合法", srcJW,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 87014, "kf_risky_content", FaultMessage,
		"the nickname or the picture is risky", "昵称或头像含有违法违规信息", srcJP,
		"Take another nickname or picture and run the command again.",
		"请更换昵称或头像后重新执行命令。",
	},
	{
		CallKFAccount, 47001, "kf_body_unparsable", FaultMessage,
		"the body cannot be parsed", "解析 JSON 内容错误", srcOJPM,
		doBugEn, doBugZh,
	},
	{
		CallKFAccount, 40004, "avatar_media_type", FaultMessage,
		"the picture is not of a valid type", "头像的媒体类型不合法", srcJPM,
		doAvatarEn, doAvatarZh,
	},
	{
		CallKFAccount, 40005, "avatar_file_type", FaultMessage,
		"the picture is not of a valid file type",
		"头像的文件格式不正确", srcOJPM + "; community reports",
		doAvatarEn, doAvatarZh,
	},
	{
		CallKFAccount, 40006, "avatar_file_size", FaultMessage,
		"the picture is too large or too small", "头像文件大小不符合要求", srcJPM,
		doAvatarEn, doAvatarZh,
	},
	{
		CallKFAccount, 40009, "avatar_image_size", FaultMessage,
		"the picture is too large", "头像图片过大", srcOJPM,
		doAvatarEn, doAvatarZh,
	},
	{
		CallKFAccount, 40137, "avatar_format", FaultMessage,
		"the format of the picture is not supported", "不支持的头像图片格式", srcJP,
		doAvatarEn, doAvatarZh,
	},
	{
		CallKFAccount, 44001, "avatar_empty", FaultMessage,
		"the picture is empty", "头像文件为空", srcJPM,
		doAvatarEn, doAvatarZh,
	},
	{
		CallKFAccount, 44006, "avatar_data_empty", FaultMessage,
		"the file holds no data", "文件数据为空", srcJW,
		doAvatarEn, doAvatarZh,
	},
	{
		CallKFAccount, 45001, "avatar_too_large", FaultMessage,
		"the picture is too large", "头像文件大小超过限制", srcJPM,
		doAvatarEn, doAvatarZh,
	},
	{
		CallKFAccount, 41005, "avatar_missing", FaultMessage,
		"the data of the picture is missing", "缺少头像文件数据", srcJP + "; community reports",
		"Run the command again; if it keeps coming, check wechat.base_url and whether a " +
			"proxy rewrites the form.",
		"请重新执行命令；若反复出现，请检查 wechat.base_url 及中间代理是否改写了上传的表单。",
	},

	// Customer-service accounts, new numbering.
	{
		CallKFAccount, 65400, "kf_not_enabled", FaultConfig,
		"the new customer service is not enabled, or was enabled minutes ago",
		"未开通新版客服功能，或刚开通尚未生效",
		srcOJM + "; community reports",
		doKFEnableEn, doKFEnableZh,
	},
	{
		CallKFAccount, 65401, "kfaccount_unknown", FaultMessage,
		"no such kf_account", "客服帐号不存在", srcOJM,
		doKFEn, doKFZh,
	},
	{
		CallKFAccount, 65402, "wechat_id_not_bound", FaultMessage,
		"the kf_account must be bound to a WeChat id first", "客服帐号尚未绑定微信号", srcOJM,
		"Invite the agent's WeChat id and have them accept.",
		"请邀请该客服的微信号并由其接受邀请。",
	},
	{
		CallKFAccount, 65403, "nickname_illegal", FaultMessage,
		"not a legal nickname", "客服昵称不合法", srcOJM,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 65404, "kfaccount_illegal", FaultMessage,
		"not a legal kf_account", "客服帐号不合法", srcOJM,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 65405, "kfaccount_limit_new", FaultMessage,
		"the app has as many kfaccounts as it may have", "客服帐号数量已达上限", srcOJM,
		"Delete a kfaccount that is no longer used.",
		"请先删除不再使用的客服帐号。",
	},
	{
		CallKFAccount, 65406, "kfaccount_exists_new", FaultMessage,
		"the kf_account exists already", "客服帐号已存在", srcOJM,
		doNothingEn, doNothingZh,
	},
	{
		CallKFAccount, 65407, "invite_already_worker", FaultMessage,
		"this WeChat user is one of the app's agents already",
		"该微信用户已是本公众号的客服", srcOJM,
		doNothingEn, doNothingZh,
	},
	{
		CallKFAccount, 65408, "invite_repeated", FaultMessage,
		"this WeChat user has been invited already", "已向该微信用户发出过邀请", srcOJM,
		"Have the invited person answer the invitation in WeChat.",
		"请被邀请人在微信中处理邀请。",
	},
	{
		CallKFAccount, 65409, "invite_wechat_id_invalid", FaultMessage,
		"not a valid WeChat id", "微信号不正确", srcOJM,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 65410, "invite_too_many_bound", FaultMessage,
		"this WeChat user is bound to too many kfaccounts", "该微信用户绑定的客服帐号过多", srcOJM,
		"Invite another WeChat id, or unbind one elsewhere.",
		"请改邀其他微信号，或先解绑其他客服帐号。",
	},
	{
		CallKFAccount, 65411, "invite_pending", FaultMessage,
		"an invitation for this kf_account is still open",
		"该客服帐号已有一个有效的绑定邀请", srcOJM,
		"Wait for the answer to the open invitation.",
		"请等待现有邀请被处理。",
	},
	{
		CallKFAccount, 65412, "kfaccount_bound", FaultMessage,
		"the kf_account is bound to a WeChat id already", "该客服帐号已绑定微信号", srcOJM,
		doNothingEn, doNothingZh,
	},
	{
		CallKFAccount, 65413, "session_missing", FaultMessage,
		"the customer has no open session", "该客户没有进行中的会话", srcOJM,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 65414, "session_elsewhere", FaultMessage,
		"another agent is serving the customer", "该客户正由其他客服接待", srcOJM,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 65415, "worker_offline", FaultMessage,
		"the agent is not online", "该客服不在线", srcOJM,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 65416, "record_parameter_invalid", FaultMessage,
		"a parameter is invalid (chat records)", "参数不合法（聊天记录接口）", srcJM,
		doKFInputEn, doKFInputZh,
	},
	{
		CallKFAccount, 65417, "record_span_too_long", FaultMessage,
		"the time from start to end is too long (chat records)",
		"查询的时间跨度过长（聊天记录接口）", srcJM,
		doKFInputEn, doKFInputZh,
	},

	// Quota and rid look-ups.
	{
		CallQuota, 48006, "clear_quota_used", FaultMessage,
		"no quota reset is left this month (10 a month)",
		"本月清零次数已用完（每月 10 次）", srcOJPM,
		"Wait for midnight Beijing time instead of resetting.",
		"请等待北京时间零点自动重置。",
	},
	{
		CallQuota, 76001, "rid_not_found", FaultMessage,
		"the rid does not exist or is older than 7 days", "rid 不存在或已超过 7 天", srcO,
		doKFInputEn, doKFInputZh,
	},
	{
		CallQuota, 76002, "rid_invalid", FaultMessage,
		"the rid has not the form of one", "rid 格式错误", srcO,
		doKFInputEn, doKFInputZh,
	},
	{
		CallQuota, 76003, "rid_of_other_account", FaultMessage,
		"the rid belongs to another account", "rid 属于其他帐号", srcO,
		doKFInputEn, doKFInputZh,
	},
	{
		CallQuota, 76004, "rid_expired", FaultMessage,
		"the rid has expired", "rid 已过期", srcO,
		doKFInputEn, doKFInputZh,
	},
	{
		CallQuota, 76021, "cgi_path_unknown", FaultMessage,
		"no such API path", "cgi_path 不存在", srcO,
		"Correct the path: it begins with a slash and has neither host nor query.",
		"请修正接口路径：以 / 开头，不含域名与查询参数。",
	},
	{
		CallQuota, 76022, "quota_account_type", FaultConfig,
		"the token is that of another kind of account",
		"access_token 所属的帐号类型与该接口不符", srcO,
		doSecretEn, doSecretZh,
	},
}
