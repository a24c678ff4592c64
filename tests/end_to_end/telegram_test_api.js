// telegram-test-api from npm, untouched, with what it lacks put before it.
//
//   node telegram_test_api.js <port>     prints "listening" when it is
//
// Its getUpdates knows no offset and no long poll, so it forgets what was not
// acknowledged; some methods are missing; its webhook shows no secret, and is called for
// all messages at once, where Telegram calls for those of a chat one after the other.

'use strict';

const TelegramServer = require('telegram-test-api');

class Shimmed extends TelegramServer {
  constructor(config) {
    super(config);
    const inner = this.webServer;
    this.called = new Map();
    this.methods = {
      getUpdates: (token, values) => this.poll(token, values),
      getWebhookInfo: async (token) => this.webhookInfo(token),
      setMyCommands: async () => true,
      sendChatAction: async () => true,
    };
    // A bot may go away in the middle of a request: the end of that, not of all.
    this.webServer = (request, response) => {
      this.serve(inner, request, response).catch(() => response.destroy());
    };
    this.webServer.settings = inner.settings;
  }

  async serve(inner, request, response) {
    const [, token, name] = /^\/bot([^/]+)\/(\w+)$/.exec(request.url) || [];
    const method = this.methods[name];
    if (!method) {
      inner(request, response);
      return;
    }
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const values = new URLSearchParams(Buffer.concat(chunks).toString());
    const result = await method(decodeURIComponent(token), values);
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ ok: true, result }));
  }

  // What lies below the offset is forgotten; without news it waits.
  async poll(token, values) {
    const offset = Number(values.get('offset') || 0);
    const waits = Date.now() + 1000 * Number(values.get('timeout') || 0);
    this.storage.userMessages = this.storage.userMessages.filter(
      (update) => update.botToken !== token || update.updateId >= offset,
    );
    for (;;) {
      const waiting = this.storage.userMessages.filter(
        (update) => update.botToken === token,
      );
      if (waiting.length || Date.now() >= waits) {
        const limit = Number(values.get('limit') || 100);
        return waiting.slice(0, limit).map(TelegramServer.formatUpdate);
      }
      await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
  }

  webhookInfo(token) {
    const webhook = this.webhooks[token];
    return {
      url: webhook ? webhook.url : '',
      has_custom_certificate: false,
      pending_update_count: 0,
    };
  }

  async addUserUpdate(update) {
    const webhook = this.webhooks[update.botToken];
    if (!webhook) {
      await super.addUserUpdate(update);
      return;
    }
    this.updateId += 1;
    const body = JSON.stringify(TelegramServer.formatUpdate(update));
    const chat = update.message.chat.id;
    const before = this.called.get(chat) || Promise.resolve();
    this.called.set(chat, before.then(() => this.call(webhook, body)));
    await this.called.get(chat);
  }

  // What the bot does not take comes again.
  async call(webhook, body) {
    const headers = {
      'Content-Type': 'application/json',
      'X-Telegram-Bot-Api-Secret-Token': webhook.secret_token,
    };
    for (;;) {
      const answer = await fetch(webhook.url, { method: 'POST', headers, body })
        .catch(() => ({ ok: false }));
      if (answer.ok) return;
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
  }
}

new Shimmed({ host: '127.0.0.1', port: Number(process.argv[2]) })
  .start()
  .then(() => console.log('listening'));
