// A person with a browser (Debian's Chromium, driven by playwright-core): login → tree → filter → app → explain →
// refused → decisions, and a search of the trail (for those who may) → logout, with axe-core's checks and a screenshot of every page.
//
//   node browser.mjs '{"gateway": URL, "user": NAME, "pictures": DIRECTORY, "scheme": "light", "width": 1280, "scripts": true}'
//
// One JSON line for each page: {"page", "path", "heading", "violations", "overflows", "foreign", "errors"}; then
// {"page": "end", …}. Exit 3: there is no Chromium here.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const plan = JSON.parse(process.argv[2]);
const program = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
if (!program) {
  console.error('no Chromium here');
  process.exit(3);
}
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
mkdirSync(plan.pictures, { recursive: true });

const browser = await chromium.launch({
  executablePath: program,
  // There is nobody but this machine: the provider's pages ask for fonts from elsewhere.
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost'],
});
const context = await browser.newContext({
  colorScheme: plan.scheme,
  viewport: { width: plan.width, height: 900 },
  ignoreHTTPSErrors: true, // the certificates are the tests' own
  javaScriptEnabled: plan.scripts,
});
context.setDefaultTimeout(20_000);
const page = await context.newPage();
const trouble = [];
const foreign = [];
// What the provider's pages complain about is theirs.
const isOurs = () => page.url().startsWith(plan.gateway);
page.on('console', (message) => message.type() === 'error' && isOurs() && trouble.push(message.text()));
page.on('pageerror', (error) => trouble.push(String(error)));
page.on('request', (request) => {
  const { origin } = new URL(request.url());
  if (isOurs() && origin !== plan.gateway && !request.isNavigationRequest()) foreign.push(request.url());
});

let number = 0;
async function look(name) {
  number += 1;
  const url = new URL(page.url());
  const violations = [];
  if (plan.scripts) {
    // Not a script tag: the page's own policy would refuse it.
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    for (const { id, help, nodes } of found.violations) violations.push(`${id}: ${help}: ${nodes[0].html}`);
  }
  const overflows = (await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth));
  await page.screenshot({ path: `${plan.pictures}/${number}-${name}.png`, fullPage: true });
  const told = {
    page: name,
    path: url.pathname,
    heading: await page.locator('h1').innerText(),
    text: (await page.locator('body').innerText()).slice(0, 4000),
    violations,
    overflows,
    foreign: foreign.splice(0),
    errors: trouble.splice(0),
  };
  console.log(JSON.stringify(told));
}

const consoleUrl = `${plan.gateway}/.lightkeeper/`;
async function logIn() {
  await page.goto(consoleUrl);
  if (!page.url().startsWith(plan.gateway)) {
    trouble.splice(0); // the provider's pages are not ours
    const name = page.locator('input[name=login]');
    if (await name.count()) {
      await name.fill(plan.user);
      await page.locator('input[name=password]').fill('any');
      await page.locator('button[type=submit]').click();
    }
    // Consent, where it is asked for.
    const consent = page.getByRole('button', { name: 'Continue' });
    if (!page.url().startsWith(plan.gateway) && (await consent.count())) await consent.click();
  }
  await page.waitForURL((url) => url.href.startsWith(consoleUrl));
  trouble.splice(0);
}

try {
  await logIn();
  await look('tree');
  const cookies = await context.cookies(plan.gateway);
  const session = cookies.filter((cookie) => cookie.name.startsWith('__Host-lightkeeper'));
  console.log(JSON.stringify({ page: 'cookies', cookies: session.map(({ name, httpOnly, secure, sameSite, path }) => ({ name, httpOnly, secure, sameSite, path })) }));
  await page.getByLabel('Filter').fill('check');
  // With scripts it filters while one types.
  if (!plan.scripts) await page.getByRole('button', { name: 'Apply' }).click();
  await page.locator('#tree').getByText('payments').first().waitFor({ state: 'detached' });
  await look('filtered');
  await page.goto(consoleUrl);
  await page.locator('#tree').getByRole('link', { name: 'checkout', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'checkout' }).waitFor();
  await look('app');
  const decisions = page.getByRole('link', { name: 'Recent decisions' });
  if (await decisions.count()) {
    await decisions.click();
    await page.getByRole('heading', { level: 1, name: 'Recent decisions' }).waitFor();
    await look('decisions');
    await page.getByLabel('Who').fill('analyst');
    await page.getByLabel('Outcome').selectOption('deny');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByRole('heading', { level: 1, name: 'Decisions in the audit trail' }).waitFor();
    await look('searched');
  }
  await page.goto(`${consoleUrl}explain`);
  await look('explain');
  await page.getByLabel('Path').fill('/public/v0.2/acme/projects/platform-prod/streams');
  await page.getByRole('button', { name: 'Explain' }).click();
  await page.locator('.result').first().waitFor();
  await look('explained');
  await page.goto(`${consoleUrl}apps/no/such/app`);
  trouble.splice(0); // Chromium tells of the status
  await look('refused');
  const old = session.find((cookie) => cookie.name === '__Host-lightkeeper-session');
  const kept = (await context.cookies(plan.gateway)).find((cookie) => cookie.name === old?.name);
  await page.goto(consoleUrl);
  await page.getByRole('button', { name: 'Log out' }).click();
  if (!page.url().startsWith(plan.gateway)) {
    const yes = page.getByRole('button', { name: /Yes/ });
    if (await yes.count()) await yes.click();
  }
  await page.waitForURL((url) => url.href.startsWith(`${consoleUrl}signed-out`));
  await look('signed-out');
  const left = (await context.cookies(plan.gateway)).filter((cookie) => cookie.name.startsWith('__Host-lightkeeper'));
  // A copy of the cookie that somebody kept is dead too.
  await context.addCookies([kept]);
  const again = await context.request.get(`${plan.gateway}/.lightkeeper/whoami`, { maxRedirects: 0 });
  console.log(JSON.stringify({ page: 'end', left: left.map((cookie) => cookie.name), kept: again.status() }));
} catch (error) {
  await page.screenshot({ path: `${plan.pictures}/failed.png`, fullPage: true });
  console.log(JSON.stringify({ page: 'failed', path: page.url(), error: String(error) }));
  process.exitCode = 1;
} finally {
  await browser.close();
}
