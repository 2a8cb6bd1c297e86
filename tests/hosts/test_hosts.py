"""One database, many hosts: they come, go and are cut off, and whoever orders does not notice."""

import asyncio

from case_orders.settings import Settings
from tests.hosts.conftest import Site, migrate
from tests.hosts.network import Host


async def test_a_rolling_restart_under_load_fails_no_request(site: Site) -> None:
    async with site.under_load():
        for api, worker, url in zip(site.apis, site.workers, site.urls, strict=True):
            await asyncio.gather(api.stop(), worker.stop())
            assert api.process is not None
            assert api.process.returncode == 0
            await site.balancer.until_ready(*(other for other in site.urls if other != url))
            await asyncio.gather(api.start(), worker.start())
            await site.balancer.until_ready(*site.urls)
    assert site.refused == []
    assert len(site.placed) > 20
    await site.require_filled_once()


async def test_a_host_that_is_cut_off_and_comes_back_loses_and_doubles_nothing(site: Site) -> None:
    cut, *others = site.urls
    async with site.under_load(patient=True):
        site.hosts[0].cut_off()
        await site.balancer.until_ready(*others)
        before = len(site.placed)
        await asyncio.sleep(15)  # the database gives up on what the host had begun
        assert len(site.placed) > before + 20, "the others go on"
        site.hosts[0].reconnect()
        await site.balancer.until_ready(cut, *others)
    await site.require_filled_once()


async def test_migrations_that_start_at_once_take_turns(three_hosts: list[Host], settings: Settings) -> None:
    done = await asyncio.gather(*(migrate(host, settings) for host in three_hosts))
    assert [code for code, _ in done] == [0, 0, 0], done
    assert (await migrate(three_hosts[0], settings))[1].startswith("The database is at")
